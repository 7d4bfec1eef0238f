using Dapper;
using FlashSale.Sales;
using Npgsql;
using NpgsqlTypes;

namespace FlashSale.Admission;

/// <summary>A line of an import that repeats the subject of an earlier line.</summary>
/// <param name="Line">The later line.</param>
/// <param name="FirstLine">The first line with that subject.</param>
/// <param name="Total">The number of such lines in the whole import.</param>
public sealed record RepeatedSubject(int Line, int FirstLine, long Total);

/// <summary>An entry to be imported.</summary>
/// <param name="Subject">The blocked user, address, network or client.</param>
/// <param name="Reason">1 to 500 characters.</param>
/// <param name="Until">The time at which the block ends by itself. Null when it does not.</param>
public sealed record BlockDraft(BlockedSubject Subject, string Reason, DateTimeOffset? Until);

/// <summary>
/// Imports many entries into the blocklist, all or nothing, at constant memory. Lines are copied into a temporary table
/// as they arrive, and one statement at the end copies them into the blocklist. Other changes wait during that
/// statement only.
/// </summary>
public sealed class BlocklistImport : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlTransaction _transaction;
    private NpgsqlBinaryImporter? _copy;

    private BlocklistImport(NpgsqlConnection connection, NpgsqlTransaction transaction)
    {
        _connection = connection;
        _transaction = transaction;
    }

    /// <summary>
    /// Opens a transaction and its temporary table. The blocklist does not change before <see cref="TakeOverAsync"/>.
    /// </summary>
    public static async Task<BlocklistImport> BeginAsync(NpgsqlDataSource postgres, CancellationToken cancellation)
    {
        var connection = await postgres.OpenConnectionAsync(cancellation);
        var import = new BlocklistImport(connection, await connection.BeginTransactionAsync(cancellation));
        try
        {
            // The file has arrived completely before the copy begins. A million lines may still take long on a busy
            // disk.
            await connection.ExecuteAsync("""
                set local statement_timeout = '15min';
                create temporary table block_line (line int not null, kind text not null, value text collate "C" not null, reason text not null, until timestamptz) on commit drop
                """);
            import._copy = await connection.BeginBinaryImportAsync("copy block_line from stdin (format binary)", cancellation);
            return import;
        }
        catch
        {
            await import.DisposeAsync();
            throw;
        }
    }

    /// <summary>Copies the entry of a line into the temporary table.</summary>
    public async ValueTask AddAsync(int line, BlockDraft entry, CancellationToken cancellation)
    {
        var copy = _copy!;
        await copy.StartRowAsync(cancellation);
        await copy.WriteAsync(line, NpgsqlDbType.Integer, cancellation);
        await copy.WriteAsync(BlockedSubject.Text(entry.Subject.Kind), NpgsqlDbType.Text, cancellation);
        await copy.WriteAsync(entry.Subject.Value, NpgsqlDbType.Text, cancellation);
        await copy.WriteAsync(entry.Reason, NpgsqlDbType.Text, cancellation);
        if (entry.Until is { } until) await copy.WriteAsync(until.ToUniversalTime(), NpgsqlDbType.TimestampTz, cancellation);
        else await copy.WriteNullAsync(cancellation);
    }

    /// <summary>
    /// Ends the copy and returns up to <paramref name="limit"/> lines that repeat the subject of an earlier line, in
    /// their order.
    /// </summary>
    public async Task<IReadOnlyList<RepeatedSubject>> EndAsync(int limit, CancellationToken cancellation)
    {
        await _copy!.CompleteAsync(cancellation);
        await _copy.DisposeAsync();
        _copy = null;
        var repeated = await _connection.QueryAsync<RepeatedSubject>(new CommandDefinition("""
            select line, first_line, count(*) over () as total
            from (select line, min(line) over (partition by kind, value) as first_line from block_line) l
            where line > first_line order by line limit @limit
            """, new { limit }, _transaction, cancellationToken: cancellation));
        return repeated.AsList();
    }

    /// <summary>Copies the lines into the blocklist and commits. An entry that exists already is changed.</summary>
    /// <returns>The number of imported entries.</returns>
    public async Task<int> TakeOverAsync(Actor actor, CancellationToken cancellation)
    {
        await _connection.ExecuteAsync("analyze block_line", transaction: _transaction);
        var version = await _connection.ExecuteScalarAsync<long>(new CommandDefinition(BlocklistStore.TakeVersion, transaction: _transaction, cancellationToken: cancellation));
        var known = await _connection.ExecuteScalarAsync<int>("""
            select count(*) from block_line l join blocked_subject b using (kind, value) where not b.removed and (b.until is null or b.until > now())
            """, transaction: _transaction);
        var imported = await _connection.ExecuteAsync("""
            insert into blocked_subject as b (kind, value, reason, until, version)
            select kind, value, reason, until, @version + row_number() over (order by line) - 1 from block_line order by line
            on conflict (kind, value) do update set reason = excluded.reason, until = excluded.until, removed = false, version = excluded.version, superseded = b.version,
                created_at = case when b.removed or b.until <= now() then now() else b.created_at end, changed_at = now()
            """, new { version }, _transaction);
        await AuditLog.WriteAsync(_transaction, actor, "blocklist.import", "blocklist", null, new { imported, added = imported - known, changed = known });
        await _transaction.CommitAsync(cancellation);
        return imported;
    }

    /// <summary>Ends the import. Without a successful <see cref="TakeOverAsync"/> it rolls everything back.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_copy is not null) await _copy.DisposeAsync();
        await _transaction.DisposeAsync();
        await _connection.DisposeAsync();
    }
}
