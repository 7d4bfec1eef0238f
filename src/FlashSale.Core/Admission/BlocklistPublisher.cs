using System.Globalization;
using System.Text;
using Dapper;
using FlashSale.Platform;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>Compares Redis with the blocklist that Postgres had when it was asked.</summary>
public enum BlocklistState
{
    /// <summary>Redis has the whole list.</summary>
    Complete,

    /// <summary>Redis has a part. The list had more changes than this call was allowed to publish.</summary>
    Behind,

    /// <summary>There is no stream. Redis lost it, or never had it.</summary>
    Absent,

    /// <summary>
    /// Redis has changes that Postgres does not know, because Postgres was restored to an earlier point.
    /// </summary>
    Ahead,
}

/// <summary>
/// Copies the blocklist from Postgres to Redis. Changes are appended in the order of their versions, each after all
/// earlier ones, so any process may publish at any time, twice or late. A lost stream is filled under another name, and
/// takes its place when it is complete. So nodes never take a part for the whole.
/// </summary>
public sealed class BlocklistPublisher(NpgsqlDataSource postgres, RedisConnection redis)
{
    /// <summary>
    /// The stream of changes, described in blocklist_publish.lua. Changes are announced on the channel of the same
    /// name.
    /// </summary>
    public static readonly RedisKey Stream = "fs:blocklist";

    /// <summary>The id of the stream's first entry, which names its generation.</summary>
    public const string GenerationId = "0-1";

    // The holder of advisory lock (7, 1) fills the stream, or removes outdated entries from it. Lock (7, 0) is the one
    // for changes of the blocklist.
    private const string TryLock = "select pg_try_advisory_xact_lock(7, 1)";

    // Purchases wait in Redis while a chunk is written, so it must be short.
    private const int Chunk = 500;
    private const int FillExpirySeconds = 600;

    private static readonly RedisScript PublishScript = new("Admission.blocklist_publish.lua");
    private static readonly RedisScript SwapScript = new("Admission.blocklist_swap.lua");

    /// <summary>Publishes the changes that Redis lacks, the oldest first.</summary>
    /// <param name="most">About the most changes to publish.</param>
    /// <param name="cancellation">Ends the work between two chunks.</param>
    public async Task<BlocklistState> PublishAsync(int most, CancellationToken cancellation)
    {
        // Ask Redis before Postgres. Postgres can then only be further.
        var top = await AppendAsync(Stream, 0, []);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        if (top > await LastVersionAsync(connection)) return BlocklistState.Ahead;
        for (var published = 0; top >= 0; )
        {
            var changes = await ReadAsync(connection, top, cancellation);
            if (changes.Count == 0) return BlocklistState.Complete;
            if (published >= most) return BlocklistState.Behind;
            // The result is lower than before if Redis has lost its tail meanwhile, and higher if other processes
            // publish too.
            top = await AppendAsync(Stream, top, changes);
            published += changes.Count;
        }
        return BlocklistState.Absent;
    }

    /// <summary>
    /// Publishes all changes, and fills a stream that is absent or ahead. One process at a time fills. The others
    /// return without waiting for it.
    /// </summary>
    public async Task KeepAsync(CancellationToken cancellation)
    {
        if (await PublishAsync(int.MaxValue, cancellation) is BlocklistState.Absent or BlocklistState.Ahead) await FillAsync(onlyIfNeeded: true, cancellation);
    }

    /// <summary>Replaces the stream by a new one. Postgres was restored to an earlier point, and it is right.</summary>
    public Task ReplaceAsync(CancellationToken cancellation) => FillAsync(onlyIfNeeded: false, cancellation);

    /// <summary>
    /// Deletes rows that ended more than an hour ago or were removed more than a day ago, and deletes the stream
    /// entries that have no row.
    /// </summary>
    /// <returns>
    /// The numbers of deleted rows and stream entries. Entries is 0 when another process holds the lock.
    /// </returns>
    public async Task<(int Rows, long Entries)> PruneAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // Keep the row with the highest version: the next version must be higher.
        var rows = await connection.ExecuteAsync(new CommandDefinition("""
            delete from blocked_subject
            where ((removed and changed_at < now() - interval '1 day') or until < now() - interval '1 hour') and version < (select max(version) from blocked_subject)
            """, cancellationToken: cancellation));
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (!await connection.ExecuteScalarAsync<bool>(TryLock, transaction: transaction)) return (rows, 0);
        var removed = 0L;
        for (long version = 0, read = Chunk; read == Chunk;)
        {
            var entries = await redis.CallAsync(database => database.StreamRangeAsync(Stream, $"{version + 1}-0", count: Chunk));
            read = entries.Length;
            if (read == 0) break;
            var versions = Array.ConvertAll(entries, entry => StreamIds.FirstOf(entry.Id));
            version = versions[^1];
            var dead = (await connection.QueryAsync<long>(new CommandDefinition(
                "select v from unnest(@versions) v where not exists (select 1 from blocked_subject b where b.version = v)",
                new { versions }, transaction, cancellationToken: cancellation))).AsList();
            // Publish the changes that replaced these entries before deleting them.
            if (dead.Count == 0 || await PublishAsync(int.MaxValue, cancellation) is not BlocklistState.Complete) continue;
            removed += await redis.CallAsync(database => database.StreamDeleteAsync(Stream, [.. dead.Select(v => (RedisValue)$"{v}-0")]));
        }
        return (rows, removed);
    }

    private async Task FillAsync(bool onlyIfNeeded, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (!await connection.ExecuteScalarAsync<bool>(TryLock, transaction: transaction)) return;
        // Another process may have filled the stream just before.
        if (onlyIfNeeded && await AppendAsync(Stream, 0, []) is >= 0 and var there && there <= await LastVersionAsync(connection)) return;

        var generation = Guid.NewGuid().ToString("N");
        // The hash tag puts the new stream into the same cluster slot.
        RedisKey filled = Encoding.UTF8.GetBytes($"{{{Stream}}}:{generation}");
        await redis.CallAsync(database => database.StreamAddAsync(filled, "e", generation, GenerationId));
        for (var top = 0L; top >= 0;)
        {
            // If this process dies here, the unfinished stream expires by itself.
            await redis.CallAsync(database => database.KeyExpireAsync(filled, TimeSpan.FromSeconds(FillExpirySeconds)));
            var changes = await ReadAsync(connection, top, cancellation);
            if (changes.Count == 0)
            {
                await SwapScript.CallAsync(redis, [Stream, filled], []);
                return;
            }
            top = await AppendAsync(filled, top, changes);
        }
    }

    private static Task<long> LastVersionAsync(NpgsqlConnection connection) =>
        connection.ExecuteScalarAsync<long>("select coalesce(max(version), 0) from blocked_subject");

    private static async Task<List<Row>> ReadAsync(NpgsqlConnection connection, long after, CancellationToken cancellation) =>
        (await connection.QueryAsync<Row>(new CommandDefinition("""
            select kind, value, version, superseded,
                   case when removed then 0 when until is null then @NoEnd else (extract(epoch from until) * 1000)::bigint end as "End"
            from blocked_subject where version > @after order by version limit @Chunk
            """, new { after, Chunk, BlockChange.NoEnd }, cancellationToken: cancellation))).AsList();

    private async Task<long> AppendAsync(RedisKey stream, long after, List<Row> changes)
    {
        var arguments = new RedisValue[1 + 3 * changes.Count];
        arguments[0] = after;
        for (var i = 0; i < changes.Count; i++)
        {
            arguments[1 + 3 * i] = changes[i].Version;
            arguments[2 + 3 * i] = new BlockChange(KeyOf(changes[i]), changes[i].End).Encode();
            arguments[3 + 3 * i] = changes[i].Superseded ?? RedisValue.EmptyString;
        }
        return (long)await PublishScript.CallAsync(redis, [stream], arguments);
    }

    private static BlockKey KeyOf(Row row) =>
        BlockedSubject.TryReadKind(row.Kind, out var kind) && BlockedSubject.TryRead(kind, row.Value, out var subject, out _)
            ? subject.Key
            : throw new FormatException($"blocked_subject holds {row.Kind} '{row.Value}', which is none.");

    private sealed record Row(string Kind, string Value, long Version, long? Superseded, long End);
}
