using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>The result of a move of a sale's window.</summary>
public enum WindowResult
{
    /// <summary>Postgres has recorded the move, and Redis has it.</summary>
    Done,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>
    /// The sale's status or phase does not allow the move, or other changes got in its way too often.
    /// </summary>
    Conflict,

    /// <summary>A new time is not in the future, or closesAt is not after opensAt.</summary>
    Invalid,

    /// <summary>The sale's version is not one of those that the move was meant for.</summary>
    Changed,

    /// <summary>
    /// Postgres has recorded the move, but Redis does not have it yet. The worker publishes it. Repeating the move does
    /// so too.
    /// </summary>
    NotPublished,
}

/// <summary>The outcome of a move.</summary>
/// <param name="Result">The result.</param>
/// <param name="Sale">The sale after the move. Set only with <see cref="WindowResult.Done"/>.</param>
/// <param name="Now">The time that the move was judged by, Unix milliseconds.</param>
/// <param name="Field">With <see cref="WindowResult.Invalid"/>, the field that is wrong: opensAt or closesAt.</param>
/// <param name="Detail">The reason of a refusal, for people.</param>
public sealed record WindowMove(WindowResult Result, PublishedSale? Sale = null, long Now = 0, string Field = "", string Detail = "");

/// <summary>
/// Moves the times at which a loaded sale opens and closes. Postgres records the move with its audit entry, then Redis
/// gets the new times, which its scripts judge by. A sale that is past closesAt sells again after closesAt was moved to
/// later, unless a manager has closed it.
/// </summary>
public sealed class SaleWindows(NpgsqlDataSource postgres, SaleReader sales, CatalogPublisher publisher)
{
    // So long before an opening its time cannot be moved any more, whatever the clocks of Redis and Postgres say.
    private const int OpensSoonMilliseconds = 2_000;

    private const int Attempts = 10;

    /// <summary>Records the new times in Postgres, then publishes the sale to Redis.</summary>
    /// <param name="saleId">The id of the sale.</param>
    /// <param name="opensAt">Unix milliseconds. Null keeps the present time.</param>
    /// <param name="closesAt">Unix milliseconds. Null keeps the present time.</param>
    /// <param name="ifVersions">The versions that the move is meant for. Null allows any.</param>
    /// <param name="actor">The name and role for the audit log.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<WindowMove> MoveAsync(
        string saleId, long? opensAt, long? closesAt, IReadOnlyList<long>? ifVersions, Actor actor, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            if (await sales.ReadAsync(saleId, cancellation) is not { } sale) return new(WindowResult.SaleNotFound);
            var now = sales.Now(sale);
            var phase = SaleTransitions.PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, now);
            if (Refusal(sale, phase, opensAt, closesAt, now) is { } refusal) return refusal;
            if (ifVersions?.Contains(sale.Version) is false) return new(WindowResult.Changed);
            if (await RecordAsync(sale, phase, opensAt ?? sale.OpensAt, closesAt ?? sale.ClosesAt, now, actor, cancellation))
                return await PublishAsync(saleId, now, cancellation);
            if (attempt == Attempts) return new(WindowResult.Conflict, Detail: "Others change the sale at this moment; repeat the request.");
        }
    }

    private static WindowMove? Refusal(SaleHead sale, string phase, long? opensAt, long? closesAt, long now)
    {
        if (sale.Status is SaleStatus.Draft) return new(WindowResult.Conflict, Detail: "The sale is a draft; PUT the sale to change its times.");
        if (sale.Status is SaleStatus.Closed or SaleStatus.Archived)
            return new(WindowResult.Conflict, Detail: $"The sale is {phase} for good; its times cannot be moved.");
        if (opensAt is not null && now >= sale.OpensAt - OpensSoonMilliseconds)
            return new(WindowResult.Conflict, Detail: $"The sale is {phase}, and its opensAt has passed or is less than two seconds away; only closesAt can be moved.");
        if (opensAt <= now) return new(WindowResult.Invalid, Field: "opensAt", Detail: "must be in the future; to open the sale now, POST .../open");
        if (closesAt <= now) return new(WindowResult.Invalid, Field: "closesAt", Detail: "must be in the future; to end the sale now, POST .../close");
        if ((closesAt ?? sale.ClosesAt) <= (opensAt ?? sale.OpensAt))
            return new(WindowResult.Invalid, Field: closesAt is null ? "opensAt" : "closesAt", Detail: "closesAt must be after opensAt");
        return null;
    }

    private async Task<bool> RecordAsync(
        SaleHead sale, string phase, long opensAt, long closesAt, long now, Actor actor, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // The shared lock lets this change wait for a rebuild that is under way, which must find the sale as it has
        // read it.
        await SaleLock.ShareAsync(transaction, sale.SaleId);
        // The wait for the lock may have reached the opening. Buyers of a sale that has opened would be told that it has not.
        var changed = await connection.ExecuteAsync("""
            update sale set opens_at = @opens, closes_at = @closes, version = version + 1, updated_at = now()
            where sale_id = @SaleId and version = @Version and status in ('live', 'paused')
              and (opens_at = @opens or opens_at > clock_timestamp() + make_interval(secs => @soon / 1000.0))
            """, new { sale.SaleId, sale.Version, opens = Time(opensAt), closes = Time(closesAt), soon = OpensSoonMilliseconds }, transaction);
        if (changed == 0) return false;
        await AuditLog.WriteAsync(transaction, actor, "sale.window", sale.SaleId, SaleTransitions.Picture(phase, sale.OpensAt, sale.ClosesAt),
            SaleTransitions.Picture(SaleTransitions.PhaseText(sale.Status, opensAt, closesAt, now), opensAt, closesAt));
        await transaction.CommitAsync(cancellation);
        return true;
    }

    private async Task<WindowMove> PublishAsync(string saleId, long now, CancellationToken cancellation)
    {
        try
        {
            return new(WindowResult.Done, await publisher.PublishAsync(saleId, cancellation), now);
        }
        catch (Exception e) when (Stores.IsAway(e))
        {
            return new(WindowResult.NotPublished);
        }
    }

    private static DateTimeOffset Time(long unixMilliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(unixMilliseconds);
}
