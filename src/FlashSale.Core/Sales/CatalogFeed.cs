using System.Collections.Frozen;
using System.Text.Json;
using FlashSale.Platform;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>
/// Keeps a node's snapshot of the published sales. A message on the catalog's channel says "look now"; messages can
/// be lost, so the versions are looked at every 250 ms as well. With Redis away the last snapshot stays.
/// </summary>
public sealed partial class CatalogFeed(RedisConnection redis, ILogger<CatalogFeed> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _refreshing = new(1, 1);
    private readonly SemaphoreSlim _hints = new(0, 1);
    private volatile FrozenDictionary<string, PublishedSale>? _sales;
    private long _looksBegun;
    private long _lookSucceeded;

    /// <summary>Raised after the snapshot was replaced.</summary>
    public event Action<FrozenDictionary<string, PublishedSale>>? Changed;

    /// <summary>Whether there has been a first snapshot.</summary>
    public bool IsReady => _sales is not null;

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
        var stored = (byte[]?)await redis.CallAsync(database => database.HashGetAsync(SaleKeys.Catalog, "versions"));
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
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        redis.Replaced += () => _ = SubscribeAsync();
        await SubscribeAsync();
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await RefreshAsync(stoppingToken);
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The watchdog has said so already.
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // A background service that throws ends the host; a node goes on with what it knows.
                LogUnreadable(e);
            }
            await _hints.WaitAsync(Interval, stoppingToken);
        }
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _refreshing.Dispose();
        _hints.Dispose();
        base.Dispose();
    }

    private async Task<PublishedSale?> ReadAsync(string saleId)
    {
        var json = (byte[]?)await redis.CallAsync(database => database.HashGetAsync(SaleKeys.Catalog, saleId), TimeSpan.FromSeconds(10));
        return json is null ? null : JsonSerializer.Deserialize(json, CatalogJson.Default.PublishedSale);
    }

    private async Task SubscribeAsync()
    {
        try
        {
            await redis.SubscribeAsync(SaleKeys.Catalog.ToString(), _ => { if (_hints.CurrentCount == 0) TryHint(); });
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException)
        {
            // A hint less; the interval stays.
        }
    }

    private void TryHint()
    {
        try
        {
            _hints.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another hint is waiting to be taken.
        }
    }

    [LoggerMessage(1, LogLevel.Error, "The published catalog cannot be read; the last snapshot stays")]
    private partial void LogUnreadable(Exception e);
}
