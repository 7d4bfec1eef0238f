using System.Collections.Frozen;
using System.Text.Json;
using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>Keeps a node's snapshot of the published sales. With Redis away the last snapshot stays.</summary>
public sealed class CatalogFeed(RedisConnection redis, ILogger<CatalogFeed> logger) : RedisFeed(redis, SaleKeys.Catalog.ToString(), logger)
{
    private readonly SemaphoreSlim _refreshing = new(1, 1);
    private volatile FrozenDictionary<string, PublishedSale>? _sales;
    private long _looksBegun;
    private long _lookSucceeded;
    private volatile bool _followed;

    /// <summary>Raised after the snapshot was replaced.</summary>
    public event Action<FrozenDictionary<string, PublishedSale>>? Changed;

    /// <summary>Whether there has been a first snapshot, and all who follow the sales have it.</summary>
    public bool IsReady => _followed;

    /// <summary>The published sales by id.</summary>
    public FrozenDictionary<string, PublishedSale> Sales => _sales ?? FrozenDictionary<string, PublishedSale>.Empty;

    /// <summary>Looks at Redis. All who come before a look begins share it.</summary>
    public async Task RefreshAsync(CancellationToken cancellation = default)
    {
        var begunBefore = Volatile.Read(ref _looksBegun);
        await _refreshing.WaitAsync(cancellation);
        try
        {
            // A look that began after this call, and is over.
            if (_lookSucceeded > begunBefore) return;
            var look = ++_looksBegun;
            await LookAsync();
            _lookSucceeded = look;
        }
        finally
        {
            _refreshing.Release();
        }
    }

    private async Task LookAsync()
    {
        var stored = (byte[]?)await Redis.CallAsync(database => database.HashGetAsync(SaleKeys.Catalog, "versions"));
        var versions = stored is null ? [] : JsonSerializer.Deserialize(stored, CatalogJson.Default.DictionaryStringInt64)!;
        var current = Sales;
        // A catalog that went away is a Redis that forgot: keep what is known, the worker publishes it again.
        if (versions.Count == 0 && current.Count > 0) return;
        if (_sales is not null && versions.Count == current.Count && versions.All(v => current.TryGetValue(v.Key, out var sale) && sale.Version >= v.Value)) return;

        var next = new Dictionary<string, PublishedSale>(StringComparer.Ordinal);
        foreach (var (saleId, version) in versions)
        {
            if (current.TryGetValue(saleId, out var known) && known.Version >= version) next.Add(saleId, known);
            else if (await ReadAsync(saleId) is { } sale) next.Add(saleId, sale);
        }
        _sales = next.ToFrozenDictionary(StringComparer.Ordinal);
        Changed?.Invoke(_sales);
        _followed = true;
    }

    /// <inheritdoc />
    protected override Task FollowAsync(CancellationToken cancellation) => RefreshAsync(cancellation);

    /// <inheritdoc />
    public override void Dispose()
    {
        _refreshing.Dispose();
        base.Dispose();
    }

    private async Task<PublishedSale?> ReadAsync(string saleId)
    {
        var json = (byte[]?)await Redis.CallAsync(database => database.HashGetAsync(SaleKeys.Catalog, saleId), TimeSpan.FromSeconds(10));
        return json is null ? null : JsonSerializer.Deserialize(json, CatalogJson.Default.PublishedSale);
    }
}
