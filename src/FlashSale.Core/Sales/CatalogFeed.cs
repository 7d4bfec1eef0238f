using System.Collections.Frozen;
using System.Text.Json;
using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>Keeps a node's snapshot of the published sales.</summary>
public sealed class CatalogFeed(RedisConnection redis, ILogger<CatalogFeed> logger) : RedisFeed(redis, SaleKeys.Catalog.ToString(), logger)
{
    private volatile FrozenDictionary<string, PublishedSale>? _sales;
    private volatile bool _followed;

    /// <summary>Raised after the snapshot was replaced.</summary>
    public event Action<FrozenDictionary<string, PublishedSale>>? Changed;

    /// <summary>Whether there has been a first snapshot, and all who follow the sales have it.</summary>
    public override bool IsReady => _followed;

    /// <summary>The published sales by id.</summary>
    public FrozenDictionary<string, PublishedSale> Sales => _sales ?? FrozenDictionary<string, PublishedSale>.Empty;

    /// <inheritdoc />
    protected override async Task LookAsync()
    {
        var versions = await PublishedDocuments.VersionsAsync(Redis, SaleKeys.Catalog);
        var current = Sales;
        // A sale that went away while it could be sold from, and was not taken out, is gone from a Redis that forgot: keep what is known,
        // the worker publishes it again, one sale after the other.
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
