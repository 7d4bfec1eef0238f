using Dapper;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admission;

/// <summary>An entry of the blocklist that stands.</summary>
/// <param name="Kind">user, ip, cidr or client.</param>
/// <param name="Value">In its normal spelling.</param>
/// <param name="Reason">For the audit log and other operators, 1 to 500 characters.</param>
/// <param name="Until">When it ends by itself, UTC; null when it does not.</param>
/// <param name="Version">Of its latest change; rises with each.</param>
/// <param name="CreatedAt">Since when it stands, UTC.</param>
/// <param name="ChangedAt">When it was changed last, UTC.</param>
public sealed record BlockedEntry(string Kind, string Value, string Reason, DateTime? Until, long Version, DateTime CreatedAt, DateTime ChangedAt);

/// <summary>What became of a removal.</summary>
public enum BlockRemoval
{
    /// <summary>It stood, and is removed.</summary>
    Removed,

    /// <summary>It was removed within the last day.</summary>
    RemovedBefore,

    /// <summary>There is no such entry.</summary>
    NotFound,
}

/// <summary>The table blocked_subject: each change with its version and its audit entry, in one transaction.</summary>
public sealed class BlocklistStore(NpgsqlDataSource postgres)
{
    /// <summary>Takes the right to change the blocklist until the transaction ends, and answers the version of the next change.</summary>
    internal const string TakeVersion = "select next_block_version()";

    private const string Columns = "kind, value, reason, until, version, created_at, changed_at";
    private const string Stands = "not removed and (until is null or until > now())";

    /// <summary>Adds an entry, or changes the one that stands.</summary>
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

    /// <summary>Removes an entry.</summary>
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

    /// <summary>Reads the entries that stand, the latest change first.</summary>
    /// <param name="kind">Only of this kind.</param>
    /// <param name="value">Only with this value.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="before">Only those with a lower version.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<BlockedEntry>> ListAsync(string? kind, string? value, int limit, long? before, CancellationToken cancellation)
    {
        // Only conditions that are asked for: the planner then sees which index serves them.
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
