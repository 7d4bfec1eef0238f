using System.Diagnostics;
using Dapper;
using FlashSale.Platform;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>What a campaign manager does with a loaded sale.</summary>
public enum SaleAction
{
    /// <summary>Moves opensAt to now.</summary>
    Open,

    /// <summary>Holds the sale.</summary>
    Pause,

    /// <summary>Ends a pause.</summary>
    Resume,

    /// <summary>Ends the sale for good.</summary>
    Close,
}

/// <summary>What became of an action.</summary>
public enum TransitionResult
{
    /// <summary>Done, and Redis knows.</summary>
    Done,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>The sale is in no state for it.</summary>
    Conflict,

    /// <summary>Recorded in Postgres; Redis does not know it yet. The worker brings it there, as does repeating the action.</summary>
    NotPublished,

    /// <summary>Redis is away and its time is needed: nothing was changed.</summary>
    NoTime,
}

/// <summary>An action's outcome.</summary>
/// <param name="Result">What became of it.</param>
/// <param name="Sale">The sale after it, when done.</param>
/// <param name="Now">The time that judged it, Unix milliseconds.</param>
/// <param name="Phase">Where the sale stood instead, when in conflict: draft, scheduled, open, paused, closed or archived.</param>
public sealed record Transition(TransitionResult Result, PublishedSale? Sale = null, long Now = 0, string Phase = "");

/// <summary>
/// Opens, pauses, resumes and closes sales: recorded in Postgres first, with the audit entry, then published to Redis.
/// Two managers who act at once are told apart by the version that their UPDATE names: one succeeds, the other judges anew.
/// </summary>
public sealed class SaleTransitions(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales, CatalogPublisher publisher)
{
    private const int Attempts = 10;

    // How long whoever recorded an action may take to publish it, before somebody who repeats it does.
    private static readonly TimeSpan PublisherGrace = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>Does it.</summary>
    public async Task<Transition> ApplyAsync(string saleId, SaleAction action, Actor actor, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            if (await sales.ReadAsync(saleId, cancellation) is not { } sale) return new(TransitionResult.SaleNotFound);
            // After the read: an opening that the read shows lies before this.
            if (await NowAsync(sale, action) is not { } now) return new(TransitionResult.NoTime);
            var phase = PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, now);
            if (sale.RebuildRequired && action is (SaleAction.Open or SaleAction.Resume))
                return new(TransitionResult.Conflict, Phase: $"{phase}, since Postgres was restored to an earlier point, and must be rebuilt first");
            if (!IsAllowed(action, sale.Status, phase))
                return IsDone(action, sale.Status, phase) ? await RepeatAsync(sale, now, phase, cancellation) : new(TransitionResult.Conflict, Phase: phase);
            if (await RecordAsync(sale, action, phase, now, actor, cancellation)) return await PublishAsync(saleId, now, cancellation);
            if (attempt == Attempts) return new(TransitionResult.Conflict, Phase: phase);
        }
    }

    /// <summary>The contract's word for where a sale stands.</summary>
    public static string PhaseText(SaleStatus status, long opensAt, long closesAt, long now) =>
        status switch
        {
            SaleStatus.Draft => "draft",
            SaleStatus.Archived => "archived",
            _ => SalePhases.At(status, opensAt, closesAt, now) switch
            {
                SalePhase.Scheduled => "scheduled",
                SalePhase.Open => "open",
                SalePhase.Paused => "paused",
                SalePhase.Closed => "closed",
            },
        };

    /// <summary>Whether a sale that stands there takes the action.</summary>
    public static bool IsAllowed(SaleAction action, SaleStatus status, string phase) => action switch
    {
        SaleAction.Open => phase is "scheduled",
        SaleAction.Pause => phase is "scheduled" or "open",
        SaleAction.Resume => phase is "paused",
        // A sale past its window can be closed as well: it stays so when the window is moved.
        SaleAction.Close => status is SaleStatus.Live or SaleStatus.Paused,
    };

    private static bool IsDone(SaleAction action, SaleStatus status, string phase) => action switch
    {
        SaleAction.Open => phase is "open",
        SaleAction.Pause => phase is "paused",
        SaleAction.Resume => phase is "scheduled" or "open",
        SaleAction.Close => status is SaleStatus.Closed,
    };

    // An opening is written in Redis' own time; the others are judged well enough by what is known of it, Redis away or not.
    private async Task<long?> NowAsync(SaleHead sale, SaleAction action)
    {
        if (action is not SaleAction.Open) return sales.Now(sale);
        try
        {
            return new DateTimeOffset(await redis.AskServerAsync(server => server.TimeAsync())).ToUnixTimeMilliseconds();
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            return null;
        }
    }

    private async Task<bool> RecordAsync(SaleHead sale, SaleAction action, string phase, long now, Actor actor, CancellationToken cancellation)
    {
        var status = action switch
        {
            SaleAction.Open or SaleAction.Resume => "live",
            SaleAction.Pause => "paused",
            SaleAction.Close => "closed",
        };
        var opensAt = action is SaleAction.Open ? now : sale.OpensAt;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // A rebuild that runs must find the sale as it left it.
        await SaleLock.ShareAsync(transaction, sale.SaleId);
        var changed = await connection.ExecuteAsync("""
            update sale set status = @status, opens_at = coalesce(@opensAt, opens_at),
                            closed_at = case @status when 'closed' then now() end, version = version + 1, updated_at = now()
            where sale_id = @SaleId and version = @Version
            """,
            new { sale.SaleId, sale.Version, status, opensAt = action is SaleAction.Open ? DateTimeOffset.FromUnixTimeMilliseconds(now) : (DateTimeOffset?)null },
            transaction);
        if (changed == 0) return false;
        await AuditLog.WriteAsync(transaction, actor, $"sale.{action.ToString().ToLowerInvariant()}", sale.SaleId,
            Picture(phase, sale.OpensAt, sale.ClosesAt), Picture(PhaseText(Enum.Parse<SaleStatus>(status, ignoreCase: true), opensAt, sale.ClosesAt, now), opensAt, sale.ClosesAt));
        await transaction.CommitAsync(cancellation);
        return true;
    }

    // In the contract's words, as the page of the sale tells them.
    internal static object Picture(string status, long opensAt, long closesAt) => new
    {
        status,
        opensAt = DateTimeOffset.FromUnixTimeMilliseconds(opensAt).UtcDateTime,
        closesAt = DateTimeOffset.FromUnixTimeMilliseconds(closesAt).UtcDateTime,
    };

    // The sale is where the action would bring it. Where Redis does not know that yet, somebody else is publishing it at
    // this moment, or failed to: then the action's repetition does it. Otherwise there was nothing to do.
    private async Task<Transition> RepeatAsync(SaleHead sale, long now, string phase, CancellationToken cancellation)
    {
        try
        {
            for (var since = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(since) < PublisherGrace; await Task.Delay(LookInterval, cancellation))
            {
                var published = await publisher.PublishedVersionsAsync();
                if (published.GetValueOrDefault(sale.SaleId) >= sale.Version) return new(TransitionResult.Conflict, Phase: phase);
            }
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            return new(TransitionResult.NotPublished);
        }
        return await PublishAsync(sale.SaleId, now, cancellation);
    }

    private async Task<Transition> PublishAsync(string saleId, long now, CancellationToken cancellation)
    {
        try
        {
            return new(TransitionResult.Done, await publisher.PublishAsync(saleId, cancellation), now);
        }
        catch (Exception e) when (Stores.IsAway(e))
        {
            return new(TransitionResult.NotPublished);
        }
    }
}
