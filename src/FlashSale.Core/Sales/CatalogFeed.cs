using System.Collections.Frozen;
using System.Text.Json;
using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>A node's snapshot of the published sales. It follows <see cref="SaleKeys.Catalog"/>.</summary>
public sealed class CatalogFeed(RedisConnection redis, ILogger<CatalogFeed> logger) : RedisFeed(redis, SaleKeys.Catalog.ToString(), logger)
{
    private volatile FrozenDictionary<string, PublishedSale>? _sales;
    private volatile bool _followed;

    /// <summary>Raised with the new snapshot after it replaced the old one.</summary>
    public event Action<FrozenDictionary<string, PublishedSale>>? Changed;

    /// <summary>Whether the first snapshot was read and every handler of <see cref="Changed"/> has taken it.</summary>
    public override bool IsReady => _followed;

    /// <summary>The published sales by id.</summary>
    public FrozenDictionary<string, PublishedSale> Sales => _sales ?? FrozenDictionary<string, PublishedSale>.Empty;

    /// <inheritdoc />
    protected override async Task LookAsync()
    {
        var versions = await PublishedDocuments.VersionsAsync(Redis, SaleKeys.Catalog);
        var current = Sales;
        // A sale that can still be sold is missing from Redis, and no removal is recorded for it. So Redis lost its
        // data. Keep the known sale: the worker publishes the sales again, one after the other.
        var forgotten = new List<PublishedSale>();
        foreach (var sale in current.Values)
        {
            if (!versions.ContainsKey(sale.SaleId) && MayBeSold(sale) && !(await PublishedDocuments.RemovedAsync(Redis, SaleKeys.Catalog, sale.SaleId) >= sale.Version)) forgotten.Add(sale);
        }
        if (_sales is not null && versions.Count + forgotten.Count == current.Count && versions.All(v => current.TryGetValue(v.Key, out var sale) && sale.Version >= v.Value)) return;

        var next = forgotten.ToDictionary(sale => sale.SaleId, StringComparer.Ordinal);
        foreach (var (saleId, version) in versions)
        {
            if (current.TryGetValue(saleId, out var known) && known.Version >= version) next.Add(saleId, known);
            else if (await PublishedDocuments.ReadAsync(Redis, SaleKeys.Catalog, saleId) is { } json) next.Add(saleId, JsonSerializer.Deserialize(json, CatalogJson.Default.PublishedSale)!);
        }
        _sales = next.ToFrozenDictionary(StringComparer.Ordinal);
        Changed?.Invoke(_sales);
        _followed = true;
    }

    private bool MayBeSold(PublishedSale sale) => sale.Status is SaleStatus.Live or SaleStatus.Paused && sale.ClosesAt > Redis.NowMilliseconds;
}
