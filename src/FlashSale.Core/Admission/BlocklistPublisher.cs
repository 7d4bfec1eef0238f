using System.Globalization;
using System.Text;
using Dapper;
using FlashSale.Platform;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>How far Redis has what Postgres had when it was asked.</summary>
public enum BlocklistState
{
    /// <summary>All of it.</summary>
    Complete,

    /// <summary>A part; there was more than this call was to publish.</summary>
    Behind,

    /// <summary>There is no stream: Redis lost it, or never had it.</summary>
    Absent,

    /// <summary>It has changes that Postgres does not know: Postgres was restored to an earlier point.</summary>
    Ahead,
}

/// <summary>
/// Carries the blocklist from Postgres to Redis. Changes are appended in the order of their versions, each only after all
/// earlier ones, so anyone may publish at any time, twice or late. A stream that was lost is filled beside its place
/// and put there when it is complete: nodes never take a part for the whole.
/// </summary>
public sealed class BlocklistPublisher(NpgsqlDataSource postgres, RedisConnection redis)
{
    /// <summary>The stream; see blocklist_publish.lua. Also the channel that announces a change.</summary>
    public static readonly RedisKey Stream = "fs:blocklist";

    /// <summary>The id of the stream's first entry, which names its generation.</summary>
    public const string GenerationId = "0-1";

    // Advisory lock (7, 1): a stream is being filled or cleared of what nobody needs. (7, 0) is that of changes.
    private const string TryLock = "select pg_try_advisory_xact_lock(7, 1)";

    // What purchases wait for in Redis must be short.
    private const int Chunk = 500;
    private const int FillExpirySeconds = 600;

    private static readonly RedisScript PublishScript = new("Admission.blocklist_publish.lua");
    private static readonly RedisScript SwapScript = new("Admission.blocklist_swap.lua");

    /// <summary>Publishes what Redis lacks, the oldest first.</summary>
    /// <param name="most">About how many changes at most.</param>
    /// <param name="cancellation">Ends it between two chunks.</param>
    public async Task<BlocklistState> PublishAsync(int most, CancellationToken cancellation)
    {
        // Before Postgres is asked, so that Postgres can only be further.
        var top = await AppendAsync(Stream, 0, []);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        if (top > await LastVersionAsync(connection)) return BlocklistState.Ahead;
        for (var published = 0; top >= 0; )
        {
            var changes = await ReadAsync(connection, top, cancellation);
            if (changes.Count == 0) return BlocklistState.Complete;
            if (published >= most) return BlocklistState.Behind;
            // Lower than it was where Redis lost its tail meanwhile, higher where others publish too.
            top = await AppendAsync(Stream, top, changes);
            published += changes.Count;
        }
        return BlocklistState.Absent;
    }

    /// <summary>Publishes everything, and fills a stream that is absent or ahead. One process at a time fills; the others leave it to that one.</summary>
    public async Task KeepAsync(CancellationToken cancellation)
    {
        if (await PublishAsync(int.MaxValue, cancellation) is BlocklistState.Absent or BlocklistState.Ahead) await FillAsync(onlyIfNeeded: true, cancellation);
    }

    /// <summary>Puts another stream in the place of the one that is there: Postgres was restored to an earlier point, and is right.</summary>
    public Task ReplaceAsync(CancellationToken cancellation) => FillAsync(onlyIfNeeded: false, cancellation);

    /// <summary>Forgets what ended more than an hour ago and what was removed more than a day ago, and clears the stream of what no row stands for.</summary>
    /// <returns>How many rows and how many entries went.</returns>
    public async Task<(int Rows, long Entries)> PruneAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // The highest version stays: the next one must be higher.
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
            // What took their place must be there before they go.
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
        // Somebody else may have filled it just before.
        if (onlyIfNeeded && await AppendAsync(Stream, 0, []) is >= 0 and var there && there <= await LastVersionAsync(connection)) return;

        var generation = Guid.NewGuid().ToString("N");
        // In the same cluster slot as the stream.
        RedisKey filled = Encoding.UTF8.GetBytes($"{{{Stream}}}:{generation}");
        await redis.CallAsync(database => database.StreamAddAsync(filled, "e", generation, GenerationId));
        for (var top = 0L; top >= 0;)
        {
            // Whoever dies here leaves nothing behind for long.
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
