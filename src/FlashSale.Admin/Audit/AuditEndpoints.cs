using System.Text.Json;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admin.Audit;

/// <summary>A change that was made, as the audit log has it.</summary>
/// <param name="Shortened">Whether Before and After are extracts of a large document, which tell only how long its
/// parts are.</param>
public sealed record AuditPage(
    long Id, string At, string Actor, string Role, string Action, string Subject, JsonElement? Before, JsonElement? After, bool Shortened)
{
    /// <summary>Makes the page of an entry.</summary>
    public static AuditPage Of(AuditEntry entry) =>
        new(entry.Id, Moments.Text(entry.At), entry.Actor, entry.Role, entry.Action, entry.Subject, Json(entry.Before), Json(entry.After), entry.IsShortened);

    private static JsonElement? Json(string? text) => text is null ? null : JsonElement.Parse(text);
}

/// <summary>A page of the audit log, newest first. NextCursor is null on the last page.</summary>
public sealed record AuditList(IReadOnlyList<AuditPage> Entries, string? NextCursor);

/// <summary>/api/v1/audit: every change and its actor, newest first.</summary>
public static class AuditEndpoints
{
    /// <summary>Maps the list and the single entry.</summary>
    public static void MapAudit(this WebApplication app)
    {
        var audit = app.MapGroup("/api/v1/audit").WithTags("Audit");
        audit.MapGet("", ListAsync).For(AdminRole.Viewer).Produces<AuditList>()
            .WithDescription("Newest first. Of a document of more than 4 KB the list tells how long its parts are; the entry itself has all of it.");
        audit.MapGet("{id}", ShowAsync).For(AdminRole.Viewer).Produces<AuditPage>();
    }

    private static async Task<IResult> ShowAsync(HttpContext context, string id, NpgsqlDataSource postgres) =>
        Paging.IsNumber(id) && await AuditLog.FindAsync(postgres, long.Parse(id), context.RequestAborted) is { } entry
            ? Results.Ok(AuditPage.Of(entry))
            : AdminProblems.AuditEntryNotFound;

    private static async Task<IResult> ListAsync(HttpContext context, NpgsqlDataSource postgres, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, Paging.IsNumber);
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var read = await AuditLog.ReadAsync(postgres, paging.Limit + 1, paging.AfterNumber, context.RequestAborted);
        var (page, next) = paging.Cut(read, AuditPage.Of, entry => entry.Id);
        return Results.Ok(new AuditList(page, next));
    }
}
