using Dapper;
using FlashSale.Ledger;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Notices when Postgres lost data. Postgres counts heartbeats, each with the identity of its data, and Redis remembers
/// the last one seen. After a failover the orders that the new primary may lack are stored again. After a restore every
/// sale is paused until an operator rebuilds it. A beat is committed only once it was found to be no earlier than the
/// beat that Redis remembers, so a Postgres that went back is noticed, however late.
/// </summary>
public sealed partial class PostgresWatch(
    NpgsqlDataSource postgres, PostgresMemory memory, SettledLog settled, PostgresLosses losses, PostgresPrimary primary, FailoverOptions options,
    ILogger<PostgresWatch> logger)
{
    // Advisory lock class: its holder deals with a loss of Postgres.
    private const int WatchLock = 6;
    private const int TrimMilliseconds = 10_000;

    private readonly long _keepMilliseconds = options.KeepSettledSeconds * 1_000L;
    private long _standbySeenAt;
    private long _trimAt;
    private int _timeline;
    private bool _isLeftBehind;
    private long? _sameAt;
    private long? _leftAt;
    private bool _isKeeping;

    /// <summary>Counts a beat, and deals with the loss that it shows.</summary>
    /// <returns>Whether the worker may work with this Postgres. False while another worker deals with a loss, and on a
    /// primary that a failover left behind.</returns>
    public async Task<bool> LookAsync(CancellationToken cancellation)
    {
        var (finding, beat, _, now) = await CountAsync(newLineage: null, cancellation);
        RenewPool(beat.Timeline);
        if (finding is PostgresFinding.Same)
        {
            // Orders that this worker stored on the old primary after the others had left it are in the log of Redis only.
            if (_leftAt is { } left) await losses.StoreAgainAsync(left, now, cancellation);
            (_isLeftBehind, _leftAt, _sameAt) = (false, null, now);
            primary.Trust();
            await GoOnAsync(beat, now, replaces: false);
            return true;
        }
        if (finding is not PostgresFinding.LeftBehind) return await RecoverAsync(cancellation);
        primary.Distrust();
        if (!_isLeftBehind) LogLeftBehind(beat.Timeline);
        _isLeftBehind = true;
        _leftAt ??= _sameAt;
        // Idle connections to that primary are closed now, the others when their use ends.
        postgres.Clear();
        return false;
    }

    // Counts a beat and judges it. The beat is committed when nothing was lost, or when newLineage is given, since the
    // loss has been dealt with by then.
    private async Task<(PostgresFinding Finding, PostgresBeat Beat, SeenPostgres? Seen, long Now)> CountAsync(bool? newLineage, CancellationToken cancellation)
    {
        // The memory of Redis is read first, so that Postgres can only be ahead of it.
        var (seen, now) = await memory.ReadAsync();
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var beat = await PostgresBeat.CountAsync(transaction, now, newLineage ?? false, cancellation);
        var finding = PostgresLineage.Judge(seen, beat, now, _keepMilliseconds);
        if (finding is PostgresFinding.Same || newLineage is not null) await transaction.CommitAsync(cancellation);
        else await transaction.RollbackAsync(cancellation);
        return (finding, beat, seen, now);
    }

    private async Task GoOnAsync(PostgresBeat beat, long now, bool replaces)
    {
        if (beat.Standbys > 0) _standbySeenAt = now;
        // Keeping goes on for a while after the last standby was seen, since that standby may be the next primary.
        var keeps = _keepMilliseconds > 0 && now - _standbySeenAt <= _keepMilliseconds;
        var isWhole = keeps && (settled.IsKeeping || !_isKeeping);
        _isKeeping = keeps;
        settled.Keep(keeps, now - _keepMilliseconds);
        // Trimming comes first: a full Redis refuses the write below.
        if (now >= _trimAt)
        {
            _trimAt = now + TrimMilliseconds;
            if (_standbySeenAt > 0) await settled.TrimAsync(await losses.SalesAsync());
        }
        await memory.WriteAsync(beat, now, isWhole, replaces);
    }

    // Several workers notice a loss at once, and one deals with it. Otherwise a slow worker could pause sales again
    // that a quick operator has already rebuilt.
    private async Task<bool> RecoverAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await connection.ExecuteAsync("set local idle_in_transaction_session_timeout = '5min'");
        if (!await connection.ExecuteScalarAsync<bool>("select pg_try_advisory_xact_lock(@WatchLock, 0)", new { WatchLock })) return false;
        var (finding, beat, seen, now) = await CountAsync(newLineage: null, cancellation);
        switch (finding)
        {
            case PostgresFinding.Same:
                await GoOnAsync(beat, now, replaces: false);
                return true;
            case PostgresFinding.LeftBehind:
                return false;
            case PostgresFinding.Failover:
                await losses.OutrankSalesAsync(seen!.SaleNumber, cancellation);
                LogFailover(seen.Timeline, beat.Timeline, now - beat.PreviousAt);
                var stored = await losses.StoreAgainAsync(beat.PreviousAt, now, cancellation);
                var held = await losses.HoldOutdatedAsync(cancellation);
                LogRecovered(stored, held);
                break;
            case PostgresFinding.Restored:
                LogRestored();
                // The numbers come first, since a manager may create a sale at any moment.
                await losses.OutrankSalesAsync(seen!.SaleNumber, cancellation);
                await losses.HoldAllAsync(cancellation);
                break;
        }
        await losses.OutrankSettingsAsync(cancellation);
        var (_, counted, _, at) = await CountAsync(newLineage: finding is PostgresFinding.Restored, cancellation);
        await GoOnAsync(counted, at, replaces: true);
        return true;
    }

    // Idle connections may lead to the previous primary, which may still answer.
    private void RenewPool(int timeline)
    {
        if (_timeline != 0 && timeline > _timeline) postgres.Clear();
        if (timeline >= _timeline) _timeline = timeline;
    }

    [LoggerMessage(1, LogLevel.Error, "Postgres was restored to an earlier point: all sales are paused until they are rebuilt (POST /api/v1/sales/…/rebuild)")]
    private partial void LogRestored();

    [LoggerMessage(2, LogLevel.Warning, "Postgres failed over from timeline {Before} to {After}: orders that were stored in the last {Milliseconds} ms are stored again")]
    private partial void LogFailover(int before, int after, long milliseconds);

    [LoggerMessage(3, LogLevel.Warning, "After the failover of Postgres {Stored} orders were looked at and stored where they were missing; {Held} sales are paused since a change to them was lost")]
    private partial void LogRecovered(int stored, int held);

    [LoggerMessage(4, LogLevel.Error, "Postgres:Url leads to a primary of timeline {Timeline}, which a failover has left behind: nothing is kept there")]
    private partial void LogLeftBehind(int timeline);
}
