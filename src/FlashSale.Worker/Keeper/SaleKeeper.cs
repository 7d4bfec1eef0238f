using System.Collections.Concurrent;
using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Keeps Redis what Postgres says it is, sale by sale, four times a second: a sale that Redis lacks or has under another
/// epoch is loaded, one in a Redis that was started anew is verified or else loaded, and what was changed but not
/// published is published, what was begun is finished. So a process that dies in the middle of a change leaves nothing to a person.
/// </summary>
public sealed partial class SaleKeeper(
    NpgsqlDataSource postgres, RedisConnection redis, MigrateInBackground migrations, CatalogPublisher publisher, SaleLoader loader,
    SaleVerifier verifier, StockChanges stockChanges, BrokerBacklog backlog, PostgresWatch watch, ILogger<SaleKeeper> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(250), migrations, logger)
{
    private static readonly TimeSpan LoadPatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan VerifyPatience = TimeSpan.FromSeconds(1);

    // Loads hold connections to Postgres, which the consumers need as well.
    private readonly SemaphoreSlim _together = new(4);

    // A sale that waits (for its outbox, or the broker) must not keep the others waiting.
    private readonly Dictionary<string, Task> _busy = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _said = new(StringComparer.Ordinal);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        if (await watch.LookAsync(cancellation)) await KeepAllAsync(cancellation);
    }

    private async Task KeepAllAsync(CancellationToken cancellation)
    {
        List<SaleRow> sales;
        await using (var connection = await postgres.OpenConnectionAsync(cancellation))
        {
            sales = (await connection.QueryAsync<SaleRow>(
                """
                select sale_id, number, epoch, version, rebuild_required,
                       exists (select 1 from stock_change c where c.sale_id = s.sale_id and c.state in ('pending', 'recorded')) as unfinished
                from sale s where status in ('live', 'paused', 'closed') and epoch > 0 order by number
                """)).AsList();
        }
        var runId = await RedisRun.IdAsync(redis);
        var published = await publisher.PublishedVersionsAsync();
        foreach (var sale in sales)
        {
            if (_busy.TryGetValue(sale.SaleId, out var busy) && !busy.IsCompleted) continue;
            var state = await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(sale.SaleId).Sale, ["epoch", "version", "run"]));
            var redisIsBehind = state[1] != sale.Version || published.GetValueOrDefault(sale.SaleId) < sale.Version;
            // Whether what Redis knows or what Postgres knows is to be kept is for a person to say.
            if (sale.RebuildRequired)
            {
                if (redisIsBehind) _busy[sale.SaleId] = GuardAsync(sale, () => publisher.PublishAsync(sale.SaleId, cancellation), cancellation);
            }
            else if (state[0] != sale.Epoch)
                _busy[sale.SaleId] = GuardAsync(sale, () => LoadAsync(sale, state[0].IsNull ? "Redis does not have it" : $"Redis has epoch {state[0]}", cancellation), cancellation);
            else if (state[2] != runId) _busy[sale.SaleId] = GuardAsync(sale, () => VerifyAsync(sale, cancellation), cancellation);
            else if (redisIsBehind) _busy[sale.SaleId] = GuardAsync(sale, () => publisher.PublishAsync(sale.SaleId, cancellation), cancellation);
            else if (sale.Unfinished) _busy[sale.SaleId] = GuardAsync(sale, () => stockChanges.ResumeAsync(sale.SaleId, cancellation), cancellation);
        }
    }

    private async Task VerifyAsync(SaleRow sale, CancellationToken cancellation)
    {
        // What was cut off may have been a pause; and what the broker still holds was sold.
        await publisher.PublishAsync(sale.SaleId, cancellation);
        await backlog.DrainedAsync(VerifyPatience, cancellation);
        if (await verifier.VerifyAsync(sale.SaleId, sale.Number, cancellation)) LogVerified(sale.SaleId);
        else await LoadAsync(sale, "Redis was started anew and lacks something", cancellation);
    }

    private async Task LoadAsync(SaleRow sale, string why, CancellationToken cancellation)
    {
        // What the broker still holds was sold: let it reach Postgres before its units are offered again.
        await backlog.DrainedAsync(LoadPatience, cancellation);
        if (await loader.LoadIfStaleAsync(sale.SaleId, cancellation) is not { } loaded) return;
        LogLoaded(sale.SaleId, loaded.Epoch, why);
        _said.TryRemove(sale.SaleId, out _);
    }

    // Whatever goes wrong with one sale is looked at again with the next tick, and keeps no other waiting.
    private async Task GuardAsync(SaleRow sale, Func<Task> keep, CancellationToken cancellation)
    {
        await _together.WaitAsync(cancellation);
        try
        {
            await keep();
        }
        catch (SaleLoadException e)
        {
            if (_said.TryGetValue(sale.SaleId, out var said) && said == e.Message) return;
            _said[sale.SaleId] = e.Message;
            LogNotLoaded(sale.SaleId, e.Message);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            if (!Stores.IsAway(e)) LogFailed(sale.SaleId, e);
        }
        finally
        {
            _together.Release();
        }
    }

    [LoggerMessage(2, LogLevel.Information, "Sale {SaleId} lost nothing when Redis was started anew: it sells on")]
    private partial void LogVerified(string saleId);

    [LoggerMessage(3, LogLevel.Warning, "Sale {SaleId} was loaded under epoch {Epoch}: {Why}")]
    private partial void LogLoaded(string saleId, long epoch, string why);

    [LoggerMessage(4, LogLevel.Warning, "Sale {SaleId} is not loaded yet: {Reason}")]
    private partial void LogNotLoaded(string saleId, string reason);

    [LoggerMessage(5, LogLevel.Error, "Sale {SaleId} cannot be kept")]
    private partial void LogFailed(string saleId, Exception e);

    private sealed record SaleRow(string SaleId, int Number, long Epoch, long Version, bool RebuildRequired, bool Unfinished);
}
