using Dapper;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admission;

/// <summary>An entry of the blocklist that is in force.</summary>
/// <param name="Kind">user, ip, cidr or client.</param>
/// <param name="Value">The normal spelling of the value, see <see cref="BlockedSubject"/>.</param>
/// <param name="Reason">1 to 500 characters, for other operators and the audit log.</param>
/// <param name="Until">The time at which the block ends by itself, UTC. Null when it does not.</param>
/// <param name="Version">
/// The version of the latest change. Every later change of the blocklist has a higher one.
/// </param>
/// <param name="CreatedAt">The time since when the entry is in force, UTC.</param>
/// <param name="ChangedAt">The time of the latest change, UTC.</param>
public sealed record BlockedEntry(string Kind, string Value, string Reason, DateTime? Until, long Version, DateTime CreatedAt, DateTime ChangedAt);

/// <summary>The result of a removal.</summary>
public enum BlockRemoval
{
    /// <summary>The entry was in force, and is removed now.</summary>
    Removed,

    /// <summary>The entry had been removed before. The table keeps removed entries for a day.</summary>
    RemovedBefore,

    /// <summary>There is no such entry, or it has ended.</summary>
    NotFound,
}

/// <summary>
/// The table blocked_subject. Each change takes a version and writes an audit entry in its transaction.
/// </summary>
public sealed class BlocklistStore(NpgsqlDataSource postgres)
{
    /// <summary>
    /// SQL that takes the right to change the blocklist until the transaction ends, and returns the version of the next
    /// change.
    /// </summary>
    internal const string TakeVersion = "select next_block_version()";

    private const string Columns = "kind, value, reason, until, version, created_at, changed_at";
    private const string Stands = "not removed and (until is null or until > now())";

    /// <summary>Adds an entry, or changes the one that is in force.</summary>
    /// <returns>The entry, and whether it is new.</returns>
    public async Task<(BlockedEntry Entry, bool IsNew)> PutAsync(BlockedSubject subject, string reason, DateTimeOffset? until, Actor actor, CancellationToken cancellation)
    {
        var kind = BlockedSubject.Text(subject.Kind);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var version = await connection.ExecuteScalarAsync<long>(new CommandDefinition(TakeVersion, transaction: transaction, cancellationToken: cancellation));
        var before = await FindAsync(transaction, kind, subject.Value);
        var entry = await connection.QuerySingleAsync<BlockedEntry>($"""
            insert into blocked_subject as b (kind, value, reason, until, version) values (@kind, @Value, @reason, @until, @version)
            on conflict (kind, value) do update set reason = excluded.reason, until = excluded.until, removed = false, version = excluded.version, superseded = b.version,
                created_at = case when @isNew then now() else b.created_at end, changed_at = now()
            returning {Columns}
            """, new { kind, subject.Value, reason, until, version, isNew = before is null }, transaction);
        await AuditLog.WriteAsync(transaction, actor, before is null ? "blocklist.add" : "blocklist.change", $"{kind}/{subject.Value}", Picture(before), Picture(entry));
        await transaction.CommitAsync(cancellation);
        return (entry, before is null);
    }

    /// <summary>
    /// Removes the entry of a subject. Its row stays for a day, so nodes that were away learn of the removal.
    /// </summary>
    public async Task<BlockRemoval> RemoveAsync(BlockedSubject subject, Actor actor, CancellationToken cancellation)
    {
        var kind = BlockedSubject.Text(subject.Kind);
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var version = await connection.ExecuteScalarAsync<long>(new CommandDefinition(TakeVersion, transaction: transaction, cancellationToken: cancellation));
        if (await FindAsync(transaction, kind, subject.Value) is not { } before)
        {
            return await connection.ExecuteScalarAsync<bool>("select exists (select 1 from blocked_subject where kind = @kind and value = @Value and removed)", new { kind, subject.Value }, transaction)
                ? BlockRemoval.RemovedBefore
                : BlockRemoval.NotFound;
        }
        await connection.ExecuteAsync("""
            update blocked_subject set removed = true, version = @version, superseded = version, changed_at = now() where kind = @kind and value = @Value
            """, new { kind, subject.Value, version }, transaction);
        await AuditLog.WriteAsync(transaction, actor, "blocklist.remove", $"{kind}/{subject.Value}", Picture(before), null);
        await transaction.CommitAsync(cancellation);
        return BlockRemoval.Removed;
    }

    /// <summary>Reads the entries that are in force, the latest change first.</summary>
    /// <param name="kind">Returns only entries of this kind. Null for all.</param>
    /// <param name="value">Returns only entries with this value. Null for all.</param>
    /// <param name="limit">The most entries to return.</param>
    /// <param name="before">Returns only entries with a lower version. Null starts with the latest.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<BlockedEntry>> ListAsync(string? kind, string? value, int limit, long? before, CancellationToken cancellation)
    {
        // The query has only the conditions that were asked for, so the planner sees the index that serves them.
        var conditions = new List<string> { Stands };
        if (kind is not null) conditions.Add("kind = @kind");
        if (value is not null) conditions.Add("value = @value");
        if (before is not null) conditions.Add("version < @before");
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<BlockedEntry>(new CommandDefinition(
            $"select {Columns} from blocked_subject where {string.Join(" and ", conditions)} order by version desc limit @limit",
            new { kind, value, limit, before }, cancellationToken: cancellation))).AsList();
    }

    private static Task<BlockedEntry?> FindAsync(NpgsqlTransaction transaction, string kind, string value) =>
        transaction.Connection!.QuerySingleOrDefaultAsync<BlockedEntry>(
            $"select {Columns} from blocked_subject where kind = @kind and value = @value and {Stands}", new { kind, value }, transaction);

    private static object? Picture(BlockedEntry? entry) => entry is null ? null : new { entry.Reason, entry.Until };
}
