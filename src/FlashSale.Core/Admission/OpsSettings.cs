using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admission;

/// <summary>A document that operators change while the product runs.</summary>
/// <param name="Version">
/// The version. Every change raises it. It is at least the time of the change in Unix milliseconds. 0 when no operator
/// has set the document.
/// </param>
/// <param name="Json">The document as JSON.</param>
public sealed record OpsSetting(long Version, string Json);

/// <summary>
/// The documents of operators. Postgres keeps them, and they are published in Redis, where every node looks. A process
/// that finds Redis behind publishes again, so if a process dies between the two, nobody needs to repair anything.
/// </summary>
public sealed class OpsSettings(NpgsqlDataSource postgres, RedisConnection redis)
{
    /// <summary>Name of the rate limits.</summary>
    public const string Limits = "limits";

    /// <summary>Name of the degradation level and switches.</summary>
    public const string Switches = "switches";

    /// <summary>Reads a document from Postgres. Null when no operator has set it.</summary>
    public async Task<OpsSetting?> ReadAsync(string name, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<OpsSetting>(new CommandDefinition(
            "select version, document::text as json from ops_setting where name = @name", new { name }, cancellationToken: cancellation));
    }

    /// <summary>Replaces a document in Postgres, with an audit entry, and publishes it.</summary>
    /// <param name="name">The name of the document.</param>
    /// <param name="json">The new document. The caller has checked it.</param>
    /// <param name="ifVersions">
    /// The versions that may be replaced (0: the document was not set). Null replaces any version.
    /// </param>
    /// <param name="actor">The name and role for the audit log.</param>
    /// <returns>
    /// The new version, and whether it reached Redis. The version is null when the present one is not among those that
    /// may be replaced.
    /// </returns>
    public async Task<(long? Version, bool Published)> ReplaceAsync(string name, string json, IReadOnlyList<long>? ifVersions, Actor actor)
    {
        long version;
        await using (var connection = await postgres.OpenConnectionAsync())
        await using (var transaction = await connection.BeginTransactionAsync())
        {
            // An advisory lock, because before the first version there is no row to lock.
            await connection.ExecuteAsync("select pg_advisory_xact_lock(8, hashtext(@name))", new { name }, transaction);
            var before = await connection.QuerySingleOrDefaultAsync<OpsSetting>(
                "select version, document::text as json from ops_setting where name = @name", new { name }, transaction);
            if (ifVersions?.Contains(before?.Version ?? 0) is false) return (null, false);
            version = await connection.ExecuteScalarAsync<long>("""
                insert into ops_setting (name, version, document)
                values (@name, (extract(epoch from clock_timestamp()) * 1000)::bigint, @json::jsonb)
                on conflict (name) do update set version = greatest(ops_setting.version + 1, excluded.version), document = excluded.document, changed_at = now()
                returning version
                """, new { name, json }, transaction);
            await AuditLog.WriteAsync(transaction, actor, $"ops.{name}", name, before?.Json, json);
            await transaction.CommitAsync();
        }
        return (version, await TryPublishAsync(name, version, json));
    }

    /// <summary>Publishes the documents that Redis lacks or has in an older version.</summary>
    public async Task PublishAsync(CancellationToken cancellation)
    {
        var published = await PublishedDocuments.VersionsAsync(redis, OpsFeed.Key);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var settings = await connection.QueryAsync<(string Name, long Version, string Json)>(new CommandDefinition(
            "select name, version, document::text from ops_setting", cancellationToken: cancellation));
        foreach (var (name, version, json) in settings)
        {
            if (published.GetValueOrDefault(name) < version) await PublishedDocuments.PublishAsync(redis, OpsFeed.Key, name, version, Bytes(json));
        }
    }

    /// <summary>
    /// If Redis has a later version of a document than Postgres, raises the version in Postgres above it, so that
    /// <see cref="PublishAsync"/> then publishes it. Postgres was restored to an earlier point, and it is right.
    /// </summary>
    public async Task OutrankAsync(CancellationToken cancellation)
    {
        foreach (var (name, version) in await PublishedDocuments.VersionsAsync(redis, OpsFeed.Key))
        {
            await using var connection = await postgres.OpenConnectionAsync(cancellation);
            await connection.ExecuteAsync(new CommandDefinition("""
                update ops_setting set version = greatest(@version + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)
                where name = @name and version < @version
                """, new { name, version }, cancellationToken: cancellation));
        }
    }

    private async Task<bool> TryPublishAsync(string name, long version, string json)
    {
        try
        {
            await PublishedDocuments.PublishAsync(redis, OpsFeed.Key, name, version, Bytes(json));
            return true;
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // The worker publishes it as soon as Redis answers.
            return false;
        }
    }

    private static byte[] Bytes(string json) => System.Text.Encoding.UTF8.GetBytes(json);
}
