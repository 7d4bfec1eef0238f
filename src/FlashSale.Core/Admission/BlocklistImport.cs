using Dapper;
using FlashSale.Sales;
using Npgsql;
using NpgsqlTypes;

namespace FlashSale.Admission;

/// <summary>A line of an import that names whom an earlier line names.</summary>
/// <param name="Line">The later line.</param>
/// <param name="FirstLine">The first line with that subject.</param>
/// <param name="Total">How many such lines there are in all.</param>
public sealed record RepeatedSubject(int Line, int FirstLine, long Total);

/// <summary>An entry to be imported.</summary>
/// <param name="Subject">Who.</param>
/// <param name="Reason">1 to 500 characters.</param>
/// <param name="Until">When it ends by itself; null when it does not.</param>
public sealed record BlockDraft(BlockedSubject Subject, string Reason, DateTimeOffset? Until);

/// <summary>
/// Brings many entries into the blocklist, all or nothing, at constant memory: lines are copied into a temporary table as
/// they come, and taken over by one statement at the end. Other changes wait for that one only.
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

    /// <summary>Begins an import. Nothing is changed before <see cref="TakeOverAsync"/>.</summary>
    public static async Task<BlocklistImport> BeginAsync(NpgsqlDataSource postgres, CancellationToken cancellation)
    {
        var connection = await postgres.OpenConnectionAsync(cancellation);
        var import = new BlocklistImport(connection, await connection.BeginTransactionAsync(cancellation));
        try
        {
            // The file is there when the copy begins; a million lines on a busy disk may still take their time.
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

    /// <summary>Adds the entry of a line.</summary>
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

    /// <summary>Ends the copy and finds lines that name whom an earlier one names, in the order of the lines.</summary>
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

    /// <summary>Makes the lines entries, and commits. One that stands already is changed.</summary>
    /// <returns>How many entries there were.</returns>
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

    /// <summary>Ends the import; without <see cref="TakeOverAsync"/> nothing was changed.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_copy is not null) await _copy.DisposeAsync();
        await _transaction.DisposeAsync();
        await _connection.DisposeAsync();
    }
}
