using System.Diagnostics;
using Dapper;
using FlashSale.Platform;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Sales;

/// <summary>The actions of a campaign manager on a loaded sale.</summary>
public enum SaleAction
{
    /// <summary>Moves opensAt to now.</summary>
    Open,

    /// <summary>Stops selling until the sale is resumed.</summary>
    Pause,

    /// <summary>Lets a paused sale sell again.</summary>
    Resume,

    /// <summary>Ends the sale for good.</summary>
    Close,
}

/// <summary>The result of an action.</summary>
public enum TransitionResult
{
    /// <summary>Postgres has recorded the action, and Redis has it.</summary>
    Done,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>The sale's phase does not allow the action, for example because the action was done before.</summary>
    Conflict,

    /// <summary>
    /// Postgres has recorded the action, but Redis does not have it yet. The worker publishes it. Repeating the action
    /// does so too.
    /// </summary>
    NotPublished,

    /// <summary>Redis does not answer, and the action needs its time. Nothing was changed.</summary>
    NoTime,
}

/// <summary>The outcome of an action.</summary>
/// <param name="Result">The result.</param>
/// <param name="Sale">The sale after the action. Set only with <see cref="TransitionResult.Done"/>.</param>
/// <param name="Now">The time that the phase was judged by, Unix milliseconds.</param>
/// <param name="Phase">
/// With <see cref="TransitionResult.Conflict"/>, the phase that the sale is in: draft, scheduled, open, paused, closed
/// or archived. If the sale must be rebuilt first, the text says so.
/// </param>
public sealed record Transition(TransitionResult Result, PublishedSale? Sale = null, long Now = 0, string Phase = "");

/// <summary>
/// Opens, pauses, resumes and closes sales. Postgres records the action with its audit entry, then Redis gets the sale.
/// The UPDATE names the version that was read. Of two managers that act at once, one therefore succeeds, and the action
/// of the other is judged again on the new state.
/// </summary>
public sealed class SaleTransitions(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales, CatalogPublisher publisher)
{
    private const int Attempts = 10;

    // The process that recorded an action gets this long to publish it. After that, a repetition of the action
    // publishes it.
    private static readonly TimeSpan PublisherGrace = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>Records the action in Postgres, then publishes the sale to Redis.</summary>
    public async Task<Transition> ApplyAsync(string saleId, SaleAction action, Actor actor, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            if (await sales.ReadAsync(saleId, cancellation) is not { } sale) return new(TransitionResult.SaleNotFound);
            // Ask for the time after the read. An opening that the read shows is then never later than this time.
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

    /// <summary>
    /// The word of the HTTP contract for the phase of a sale: draft, scheduled, open, paused, closed or archived.
    /// </summary>
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

    /// <summary>Whether a sale of this status and phase allows the action.</summary>
    public static bool IsAllowed(SaleAction action, SaleStatus status, string phase) => action switch
    {
        SaleAction.Open => phase is "scheduled",
        SaleAction.Pause => phase is "scheduled" or "open",
        SaleAction.Resume => phase is "paused",
        // A sale past its window can be closed too. It then stays closed when the window is moved.
        SaleAction.Close => status is SaleStatus.Live or SaleStatus.Paused,
    };

    private static bool IsDone(SaleAction action, SaleStatus status, string phase) => action switch
    {
        SaleAction.Open => phase is "open",
        SaleAction.Pause => phase is "paused",
        SaleAction.Resume => phase is "scheduled" or "open",
        SaleAction.Close => status is SaleStatus.Closed,
    };

    // An opening stores a time, so it needs the exact time of Redis. For the other actions the time of SaleReader.Now
    // is good enough, and it is there also while Redis is away.
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
        // The shared lock lets this change wait for a rebuild that is under way, which must find the sale as it has
        // read it.
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

    // The audit log shows a sale in the words of the HTTP contract, as the sale's page does.
    internal static object Picture(string status, long opensAt, long closesAt) => new
    {
        status,
        opensAt = DateTimeOffset.FromUnixTimeMilliseconds(opensAt).UtcDateTime,
        closesAt = DateTimeOffset.FromUnixTimeMilliseconds(closesAt).UtcDateTime,
    };

    // The sale is already in the phase that the action leads to. If Redis does not have that version yet, another
    // process is publishing it at this moment, or failed to. In the latter case this repetition publishes it. If Redis
    // has the version, there was nothing to do.
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
