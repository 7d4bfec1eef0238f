using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Compares the books of all sales, those that still sell first. One worker at a time does it, by an advisory lock that
/// ends with its transaction.
/// </summary>
public sealed partial class ReconcileJob : PeriodicJob
{
    // Advisory lock class: its holder compares the books.
    private const int ReconcileLock = 5;

    // After the end of a sale only orders that expire or are refunded change its books.
    private static readonly TimeSpan EndedInterval = TimeSpan.FromMinutes(10);

    private static readonly Meter Meter = new("FlashSale.Ledger");

    private readonly NpgsqlDataSource _postgres;
    private readonly Reconciliation _reconciliation;
    private readonly SaleLoader _loader;
    private readonly ReconcileOptions _options;
    private readonly ILogger<ReconcileJob> _logger;
    private readonly ConcurrentDictionary<string, long> _standing = new(StringComparer.Ordinal);

    /// <summary>Registers the gauge.</summary>
    public ReconcileJob(NpgsqlDataSource postgres, Reconciliation reconciliation, SaleLoader loader,
        ReconcileOptions options, MigrateInBackground migrations, ILogger<ReconcileJob> logger)
        : base(TimeSpan.FromSeconds(options.IntervalSeconds), migrations, logger)
    {
        (_postgres, _reconciliation, _loader, _options, _logger) = (postgres, reconciliation, loader, options, logger);
        Meter.CreateObservableGauge("flashsale_ledger_difference_units", () => _standing.Values.Sum(),
            description: "Units that the books have not accounted for in three comparisons in a row, over all sales.");
    }

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        // This transaction lasts as long as the run, so it reads no table. A migration that wants such a table for
        // itself would wait for the run's end, all other queries of the table would wait behind the migration, and the
        // run behind them.
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await connection.ExecuteAsync("set local idle_in_transaction_session_timeout = '2min'");
        if (!await connection.ExecuteScalarAsync<bool>("select pg_try_advisory_xact_lock(@ReconcileLock, 0)", new { ReconcileLock })) return;
        foreach (var saleId in await SalesAsync(cancellation)) await GuardAsync(() => CompareAsync(saleId, cancellation), cancellation);
    }

    private async Task<IReadOnlyList<string>> SalesAsync(CancellationToken cancellation)
    {
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<string>(new CommandDefinition("""
            select s.sale_id
            from sale s left join reconciliation r using (sale_id),
                 lateral (select s.status = 'closed' or s.closes_at <= now() as has_ended, least(s.closed_at, s.closes_at) as at) e
            where s.epoch > 0 and s.status in ('live', 'paused', 'closed') and not s.rebuild_required
              and not (e.has_ended and coalesce(r.runs_unbalanced = 0 and r.run_at > e.at and r.run_at > now() - @EndedInterval, false))
            order by e.has_ended, s.opens_at > now(), r.run_at nulls first
            """, new { EndedInterval }, cancellationToken: cancellation))).AsList();
    }

    private async Task CompareAsync(string saleId, CancellationToken cancellation)
    {
        if (await _reconciliation.RunAsync(saleId, cancellation) is not { } report) return;
        if (!report.HasStood)
        {
            _standing.TryRemove(saleId, out _);
            return;
        }
        _standing[saleId] = report.Differences.Values.Sum(Math.Abs);
        var text = string.Join(", ", report.Differences.Take(10).Select(difference => $"{difference.Key} {difference.Value:+0;-0}"));
        if (report.RunsUnbalanced == ReconciliationReport.RunsThatCount) LogStands(saleId, text);
        if (_options.Repair) await RepairAsync(saleId, report, text, cancellation);
    }

    // A repair always rebuilds Redis from Postgres, which is the judge.
    private async Task RepairAsync(string saleId, ReconciliationReport report, string text, CancellationToken cancellation)
    {
        var loaded = await _loader.LoadAsync(saleId, (transaction, begun) =>
            AuditLog.WriteAsync(transaction, Actor.Worker, "sale.repair", saleId, new { report.Differences }, new { begun.Epoch, begun.Units }), cancellation);
        LogRepaired(saleId, text, loaded.Epoch);
    }

    // The books of a sale may be unreadable now (its lock is taken, a store is away). No other sale waits for it.
    private async Task GuardAsync(Func<Task> act, CancellationToken cancellation)
    {
        try
        {
            await act();
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested && (Stores.IsAway(e) || e is SaleLoadException))
        {
            LogSkipped(e.Message);
        }
    }

    [LoggerMessage(2, LogLevel.Error, "The books of sale {SaleId} do not balance, in three comparisons in a row: {Differences}")]
    private partial void LogStands(string saleId, string differences);

    [LoggerMessage(4, LogLevel.Warning, "Sale {SaleId} was repaired ({Differences}): rebuilt from Postgres under epoch {Epoch}")]
    private partial void LogRepaired(string saleId, string differences, long epoch);

    [LoggerMessage(6, LogLevel.Debug, "Not compared this time: {Reason}")]
    private partial void LogSkipped(string reason);
}
