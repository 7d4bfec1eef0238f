using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Closes the books of sales that have ended: it counts their orders, which takes seconds for a million of them, and
/// later archives the sales. It is a job of its own so that the comparisons of <see cref="ReconcileJob"/> do not wait
/// for it. Two workers do no harm at once, since their counts agree and a sale is archived once.
/// </summary>
public sealed partial class ClosingJob(
    NpgsqlDataSource postgres, Reconciliation reconciliation, SaleArchiver archiver, RedisLog log, ReconcileOptions options, TimeProvider time,
    MigrateInBackground migrations, ILogger<ClosingJob> logger)
    : PeriodicJob(TimeSpan.FromSeconds(options.IntervalSeconds), migrations, logger)
{
    // Advisory lock class: its holder counts the orders of a sale.
    private const int CountLock = 11;

    // A count that fails has burdened Postgres all the same, so the next attempt does not follow at once.
    private static readonly TimeSpan RestAfterFailure = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan CountLease = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, long> _failedAt = new(StringComparer.Ordinal);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        foreach (var (saleId, number) in await UncountedAsync(cancellation)) await CountAsync(saleId, number, cancellation);
        foreach (var saleId in await archiver.DueAsync(TimeSpan.FromMinutes(options.ArchiveAfterMinutes), cancellation)) await ArchiveAsync(saleId, cancellation);
    }

    private async Task<IReadOnlyList<(string SaleId, int Number)>> UncountedAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<(string SaleId, int Number)>(new CommandDefinition("""
            select s.sale_id, s.number
            from sale s left join reconciliation r using (sale_id)
            where s.epoch > 0 and s.status in ('live', 'paused', 'closed') and not s.rebuild_required and (s.status = 'closed' or s.closes_at <= now())
              and coalesce(r.full_run_at < least(s.closed_at, s.closes_at), true)
              and not exists (select 1 from orders o where o.sale_id = s.sale_id and o.status = 'pending_payment')
            order by s.number
            """, cancellationToken: cancellation))).AsList();
    }

    private async Task CountAsync(string saleId, int number, CancellationToken cancellation)
    {
        if (_failedAt.TryGetValue(saleId, out var failedAt) && time.GetElapsedTime(failedAt) < RestAfterFailure) return;
        try
        {
            await using var alone = await SessionLock.TryTakeAsync(postgres, CountLock, number, CountLease, cancellation);
            if (alone is null) return;
            if (await reconciliation.CountAsync(saleId, cancellation) is { Count: > 0 } findings) LogFindings(saleId, findings.Count, findings[0]);
            _failedAt.Remove(saleId);
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested && Stores.IsAway(e))
        {
            _failedAt[saleId] = time.GetTimestamp();
            LogUncounted(saleId, e.Message);
        }
    }

    private async Task ArchiveAsync(string saleId, CancellationToken cancellation)
    {
        try
        {
            if (!await archiver.ArchiveAsync(saleId, Actor.Worker, cancellation)) return;
            LogArchived(saleId);
            // Redis no longer holds the sale, but its append-only file still does.
            log.WantRewrite();
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested && Stores.IsAway(e))
        {
            LogNotArchived(saleId, e.Message);
        }
    }

    [LoggerMessage(3, LogLevel.Error, "Counting the orders of sale {SaleId} found {Count} differences, the first: {First}")]
    private partial void LogFindings(string saleId, int count, string first);

    [LoggerMessage(5, LogLevel.Information, "Sale {SaleId} was archived")]
    private partial void LogArchived(string saleId);

    [LoggerMessage(7, LogLevel.Warning, "The orders of sale {SaleId} could not be counted, and it stays in Redis until they are: {Reason}")]
    private partial void LogUncounted(string saleId, string reason);

    [LoggerMessage(8, LogLevel.Debug, "Sale {SaleId} is not archived this time: {Reason}")]
    private partial void LogNotArchived(string saleId, string reason);
}
