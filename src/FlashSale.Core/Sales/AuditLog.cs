using System.Text.Json;
using Dapper;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>The person or process that makes a change.</summary>
/// <param name="Name">The name of the token, or of the process.</param>
/// <param name="Role">The role of the token.</param>
public sealed record Actor(string Name, string Role)
{
    /// <summary>A worker that makes a change by itself.</summary>
    public static readonly Actor Worker = new("worker", "system");
}

/// <summary>An entry of the audit log: one change.</summary>
/// <param name="Id">The id. Ids rise with time.</param>
/// <param name="At">The time of the change by the clock of Postgres.</param>
/// <param name="Actor">The name of the actor.</param>
/// <param name="Role">The role of the actor.</param>
/// <param name="Action">The action, such as <c>sale.open</c>.</param>
/// <param name="Subject">The thing that was changed: a sale id, or sale id/sku.</param>
/// <param name="Before">JSON of the state before the change. Null when there was nothing.</param>
/// <param name="After">JSON of the state after the change. Null when there is nothing.</param>
/// <param name="IsShortened">Whether before and after are extracts of longer documents that the table keeps.</param>
public sealed record AuditEntry(
    long Id, DateTime At, string Actor, string Role, string Action, string Subject, string? Before, string? After, bool IsShortened);

/// <summary>
/// The table audit_log. An entry is written in the transaction of its change, so neither exists without the other.
/// </summary>
public static class AuditLog
{
    /// <summary>Adds an entry. Its time is the start of the transaction.</summary>
    /// <param name="transaction">The transaction of the change.</param>
    /// <param name="actor">The actor.</param>
    /// <param name="action">The action, such as <c>sale.open</c>.</param>
    /// <param name="subject">The thing that is changed.</param>
    /// <param name="before">A JSON text, an object to serialise, or null.</param>
    /// <param name="after">A JSON text, an object to serialise, or null.</param>
    public static Task WriteAsync(NpgsqlTransaction transaction, Actor actor, string action, string subject, object? before, object? after) =>
        transaction.Connection!.ExecuteAsync("""
            insert into audit_log (actor, role, action, subject, before, after)
            values (@Name, @Role, @action, @subject, @before::jsonb, @after::jsonb)
            """, new { actor.Name, actor.Role, action, subject, before = Json(before), after = Json(after) }, transaction);

    /// <summary>Reads entries, newest first. Documents of more than 4 KB come as extracts.</summary>
    /// <param name="postgres">The database to read from.</param>
    /// <param name="limit">The most entries to return.</param>
    /// <param name="before">Returns only entries with a lower id. Null starts with the newest.</param>
    /// <param name="cancellation">Ends the query.</param>
    public static async Task<IReadOnlyList<AuditEntry>> ReadAsync(NpgsqlDataSource postgres, int limit, long? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var entries = await connection.QueryAsync<AuditEntry>(new CommandDefinition("""
            select audit_id as id, at, actor, role, action, subject, coalesce(before_extract, before)::text as before,
                   coalesce(after_extract, after)::text as after, num_nonnulls(before_extract, after_extract) > 0 as is_shortened
            from audit_log where @before::bigint is null or audit_id < @before
            order by audit_id desc limit @limit
            """, new { limit, before }, cancellationToken: cancellation));
        return entries.AsList();
    }

    /// <summary>Reads one entry with its whole documents. Null when there is no such entry.</summary>
    public static async Task<AuditEntry?> FindAsync(NpgsqlDataSource postgres, long id, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<AuditEntry>(new CommandDefinition("""
            select audit_id as id, at, actor, role, action, subject, before::text as before, after::text as after, false as is_shortened
            from audit_log where audit_id = @id
            """, new { id }, cancellationToken: cancellation));
    }

    private static string? Json(object? value) => value is null or string ? (string?)value : JsonSerializer.Serialize(value, JsonSerializerOptions.Web);
}
