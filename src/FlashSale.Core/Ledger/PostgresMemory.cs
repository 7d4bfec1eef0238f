using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// The last heartbeat of Postgres that Redis remembers. With it any worker notices a Postgres that lost something,
/// however late.
/// <code>
/// fs:postgres  hash  system, timeline, lineage, beat, lsn, number (highest sale number), at (Unix ms),
///                    kept (since when settled reservations are kept, Unix ms)
/// </code>
/// </summary>
public sealed class PostgresMemory(RedisConnection redis)
{
    /// <summary>The key of the hash.</summary>
    public static readonly RedisKey Key = "fs:postgres";

    private static readonly RedisValue[] Fields = ["system", "timeline", "lineage", "beat", "lsn", "number", "at", "kept"];
    private static readonly RedisScript Script = new("Ledger.remember_beat.lua");

    /// <summary>
    /// Reads the remembered beat, null when Redis remembers none, and Redis TIME in Unix milliseconds.
    /// </summary>
    public async Task<(SeenPostgres? Seen, long Now)> ReadAsync()
    {
        var (fields, time) = await redis.CallAsync(async database =>
        {
            var fields = database.HashGetAsync(Key, Fields);
            var time = database.ExecuteAsync("TIME");
            return (await fields, (RedisResult[])(await time)!);
        });
        var now = (long)time[0] * 1000 + (long)time[1] / 1000;
        if (fields[0].IsNull) return (null, now);
        return (new SeenPostgres(fields[0]!, (int)fields[1], Guid.Parse((string)fields[2]!), (long)fields[3], (long)fields[4],
            (int)fields[5], (long)fields[6], (long?)fields[7]), now);
    }

    /// <summary>Remembers a committed beat.</summary>
    /// <param name="beat">The beat.</param>
    /// <param name="at">When it was counted, as in the beat's row. Redis TIME in Unix milliseconds.</param>
    /// <param name="isKeeping">Whether this worker keeps the packs that it settles.</param>
    /// <param name="replaces">
    /// Whether the beat may replace that of another Postgres, because the failover or restore was dealt with.
    /// </param>
    public Task WriteAsync(PostgresBeat beat, long at, bool isKeeping, bool replaces) => Script.CallAsync(redis, [Key],
        [beat.System, beat.Timeline, beat.Lineage.ToString("D"), beat.Count, beat.Position, beat.SaleNumber, at, isKeeping ? 1 : 0, replaces ? 1 : 0]);
}
