using System.Text.Json;
using Dapper;
using Npgsql;

namespace FlashSale.Sales;

/// <summary>Who changes something.</summary>
/// <param name="Name">Name of the token.</param>
/// <param name="Role">Its role.</param>
public sealed record Actor(string Name, string Role)
{
    /// <summary>A worker, on its own account.</summary>
    public static readonly Actor Worker = new("worker", "system");
}

/// <summary>A change that was made.</summary>
/// <param name="Id">Rises with time.</param>
/// <param name="At">When, by Postgres' clock.</param>
/// <param name="Actor">Who.</param>
/// <param name="Role">In which role.</param>
/// <param name="Action">What, such as <c>sale.open</c>.</param>
/// <param name="Subject">To what: a sale id, or sale id/sku.</param>
/// <param name="Before">JSON; null when there was nothing.</param>
/// <param name="After">JSON; null when there is nothing.</param>
/// <param name="IsShortened">Whether these are extracts of what is kept.</param>
public sealed record AuditEntry(
    long Id, DateTime At, string Actor, string Role, string Action, string Subject, string? Before, string? After, bool IsShortened);

/// <summary>The table audit_log: written in the transaction of the change itself, so that neither is there without the other.</summary>
public static class AuditLog
{
    /// <summary>Adds an entry.</summary>
    /// <param name="transaction">The change's own.</param>
    /// <param name="actor">Who.</param>
    /// <param name="action">What.</param>
    /// <param name="subject">To what.</param>
    /// <param name="before">JSON, or anything that becomes JSON.</param>
    /// <param name="after">JSON, or anything that becomes JSON.</param>
    public static Task WriteAsync(NpgsqlTransaction transaction, Actor actor, string action, string subject, object? before, object? after) =>
        transaction.Connection!.ExecuteAsync("""
            insert into audit_log (actor, role, action, subject, before, after)
            values (@Name, @Role, @action, @subject, @before::jsonb, @after::jsonb)
            """, new { actor.Name, actor.Role, action, subject, before = Json(before), after = Json(after) }, transaction);

    /// <summary>Reads entries, newest first, with extracts of documents of more than 4 KB.</summary>
    /// <param name="postgres">Where from.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="before">Only those with a lower id.</param>
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

    /// <summary>Reads a whole entry; null when there is none.</summary>
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
