using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>What became of a move of a sale's window.</summary>
public enum WindowResult
{
    /// <summary>Done, and Redis knows.</summary>
    Done,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>The sale is in no state for it.</summary>
    Conflict,

    /// <summary>A time that would make no window.</summary>
    Invalid,

    /// <summary>The sale has another version than the move was meant for.</summary>
    Changed,

    /// <summary>Recorded in Postgres; Redis does not know it yet. The worker brings it there, as does repeating the move.</summary>
    NotPublished,
}

/// <summary>A move's outcome.</summary>
/// <param name="Result">What became of it.</param>
/// <param name="Sale">The sale after it, when done.</param>
/// <param name="Now">The time that judged it, Unix milliseconds.</param>
/// <param name="Field">Which time is wrong, when invalid.</param>
/// <param name="Detail">Why not.</param>
public sealed record WindowMove(WindowResult Result, PublishedSale? Sale = null, long Now = 0, string Field = "", string Detail = "");

/// <summary>
/// Moves the times at which a loaded sale opens and closes: recorded in Postgres first, with the audit entry, then published to
/// Redis, whose script judges by them. A sale that its hour has ended sells again under a later one, until a manager closes it.
/// </summary>
public sealed class SaleWindows(NpgsqlDataSource postgres, SaleReader sales, CatalogPublisher publisher)
{
    private const int Attempts = 10;

    /// <summary>Moves it.</summary>
    /// <param name="saleId">The sale.</param>
    /// <param name="opensAt">Unix milliseconds; null leaves it.</param>
    /// <param name="closesAt">Unix milliseconds; null leaves it.</param>
    /// <param name="ifVersions">Only if the sale has one of these versions; null for any.</param>
    /// <param name="actor">Who.</param>
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
        if (opensAt is not null && now >= sale.OpensAt)
            return new(WindowResult.Conflict, Detail: $"The sale is {phase}, and its opensAt has passed; only closesAt can be moved.");
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
        // A rebuild that runs must find the sale as it left it.
        await SaleLock.ShareAsync(transaction, sale.SaleId);
        var changed = await connection.ExecuteAsync("""
            update sale set opens_at = @opens, closes_at = @closes, version = version + 1, updated_at = now()
            where sale_id = @SaleId and version = @Version and status in ('live', 'paused')
            """, new { sale.SaleId, sale.Version, opens = Time(opensAt), closes = Time(closesAt) }, transaction);
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
