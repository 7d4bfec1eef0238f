using System.Text.Json;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admin.Audit;

/// <summary>A change that was made.</summary>
public sealed record AuditPage(long Id, string At, string Actor, string Role, string Action, string Subject, JsonElement? Before, JsonElement? After)
{
    /// <summary>The page of an entry.</summary>
    public static AuditPage Of(AuditEntry entry) =>
        new(entry.Id, Moments.Text(entry.At), entry.Actor, entry.Role, entry.Action, entry.Subject, Json(entry.Before), Json(entry.After));

    private static JsonElement? Json(string? text) => text is null ? null : JsonElement.Parse(text);
}

/// <summary>A page of the audit log.</summary>
public sealed record AuditList(IReadOnlyList<AuditPage> Entries, string? NextCursor);

/// <summary>/api/v1/audit: who changed what, newest first.</summary>
public static class AuditEndpoints
{
    /// <summary>Maps the endpoint.</summary>
    public static void MapAudit(this WebApplication app) =>
        app.MapGet("/api/v1/audit", ListAsync).WithTags("Audit").For(AdminRole.Viewer).Produces<AuditList>();

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
