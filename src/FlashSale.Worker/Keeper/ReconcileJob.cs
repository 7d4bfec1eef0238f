using System.Collections.Concurrent;
using System.ComponentModel.DataAnnotations;
using System.Diagnostics.Metrics;
using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>Section <c>Reconcile</c>.</summary>
public sealed class ReconcileOptions
{
    /// <summary>How often the books of every sale are compared, in seconds.</summary>
    [Range(1, 3_600)]
    public int IntervalSeconds { get; set; } = 10;

    /// <summary>Whether a difference that stands is repaired, by a rebuild of the sale from Postgres; else it is only told.</summary>
    public bool Repair { get; set; }

    /// <summary>How long the keys of a sale stay in Redis after its end, in minutes: until then a retry gets its answer. A week unless set.</summary>
    [Range(0, 1_000_000)]
    public int ArchiveAfterMinutes { get; set; } = 7 * 24 * 60;
}

/// <summary>
/// Compares the books of all sales, counts the orders of those that have ended, and archives them in time. One worker at
/// a time does it, by an advisory lock that ends with its transaction.
/// </summary>
public sealed partial class ReconcileJob : PeriodicJob
{
    // Advisory lock class of "the books are being compared".
    private const int ReconcileLock = 5;

    private static readonly Meter Meter = new("FlashSale.Ledger");

    private readonly NpgsqlDataSource _postgres;
    private readonly Reconciliation _reconciliation;
    private readonly SaleLoader _loader;
    private readonly SaleArchiver _archiver;
    private readonly ReconcileOptions _options;
    private readonly ILogger<ReconcileJob> _logger;
    private readonly ConcurrentDictionary<string, long> _standing = new(StringComparer.Ordinal);

    /// <summary>Registers the gauge.</summary>
    public ReconcileJob(NpgsqlDataSource postgres, Reconciliation reconciliation, SaleLoader loader, SaleArchiver archiver,
        ReconcileOptions options, MigrateInBackground migrations, ILogger<ReconcileJob> logger)
        : base(TimeSpan.FromSeconds(options.IntervalSeconds), migrations, logger)
    {
        (_postgres, _reconciliation, _loader, _archiver, _options, _logger) = (postgres, reconciliation, loader, archiver, options, logger);
        Meter.CreateObservableGauge("flashsale_ledger_difference_units", () => _standing.Values.Sum(),
            description: "Units that the books have not accounted for in three comparisons in a row, over all sales.");
    }

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        // It lasts as long as the run, so it reads no table: a migration that wants one for itself would wait for the run's end, everybody else
        // behind it, and the run behind them.
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await connection.ExecuteAsync("set local idle_in_transaction_session_timeout = '2min'");
        if (!await connection.ExecuteScalarAsync<bool>("select pg_try_advisory_xact_lock(@ReconcileLock, 0)", new { ReconcileLock })) return;
        foreach (var (saleId, isUncounted) in await SalesAsync(cancellation)) await GuardAsync(() => CompareAsync(saleId, isUncounted, cancellation), cancellation);
        foreach (var saleId in await _archiver.DueAsync(TimeSpan.FromMinutes(_options.ArchiveAfterMinutes), cancellation))
            await GuardAsync(() => ArchiveAsync(saleId, cancellation), cancellation);
    }

    private async Task<IEnumerable<(string SaleId, bool IsUncounted)>> SalesAsync(CancellationToken cancellation)
    {
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        return await connection.QueryAsync<(string SaleId, bool IsUncounted)>(new CommandDefinition("""
            select s.sale_id, (s.status = 'closed' or s.closes_at <= now()) and coalesce(r.full_run_at < least(s.closed_at, s.closes_at), true)
                   and not exists (select 1 from orders o where o.sale_id = s.sale_id and o.status = 'pending_payment')
            from sale s left join reconciliation r using (sale_id)
            where s.epoch > 0 and s.status in ('live', 'paused', 'closed') and not s.rebuild_required order by s.number
            """, cancellationToken: cancellation));
    }

    private async Task CompareAsync(string saleId, bool isUncounted, CancellationToken cancellation)
    {
        if (await _reconciliation.RunAsync(saleId, cancellation) is not { } report) return;
        if (isUncounted && await _reconciliation.CountAsync(saleId, cancellation) is { Count: > 0 } findings) LogFindings(saleId, findings.Count, findings[0]);
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

    // Towards Postgres, always: it is the judge.
    private async Task RepairAsync(string saleId, ReconciliationReport report, string text, CancellationToken cancellation)
    {
        var loaded = await _loader.LoadAsync(saleId, cancellation);
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await AuditLog.WriteAsync(transaction, Actor.Worker, "sale.repair", saleId, new { report.Differences }, new { loaded.Epoch, loaded.Units });
        await transaction.CommitAsync(cancellation);
        LogRepaired(saleId, text, loaded.Epoch);
    }

    private async Task ArchiveAsync(string saleId, CancellationToken cancellation)
    {
        if (await _archiver.ArchiveAsync(saleId, Actor.Worker, cancellation)) LogArchived(saleId);
    }

    // One sale whose books cannot be read now (too much in flight, a rebuild under way, a store away) keeps no other waiting.
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

    [LoggerMessage(3, LogLevel.Error, "Counting the orders of sale {SaleId} found {Count} differences, the first: {First}")]
    private partial void LogFindings(string saleId, int count, string first);

    [LoggerMessage(4, LogLevel.Warning, "Sale {SaleId} was repaired ({Differences}): rebuilt from Postgres under epoch {Epoch}")]
    private partial void LogRepaired(string saleId, string differences, long epoch);

    [LoggerMessage(5, LogLevel.Information, "Sale {SaleId} was archived")]
    private partial void LogArchived(string saleId);

    [LoggerMessage(6, LogLevel.Debug, "Not compared this time: {Reason}")]
    private partial void LogSkipped(string reason);
}
