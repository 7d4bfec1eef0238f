using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;
using FlashSale.Admission;
using Microsoft.AspNetCore.Mvc;
using Npgsql;

namespace FlashSale.Admin.Blocklist;

/// <summary>
/// POST /api/v1/ops/blocklist:import: imports a file of entries, all or nothing. An entry that stands already is
/// changed. The file is streamed into Postgres when all of it has arrived, so no memory grows with its length. A worker
/// publishes the imported entries.
/// </summary>
public static class BlocklistImportEndpoint
{
    private const int MaxBody = 256 * 1024 * 1024;

    /// <summary>Maps the endpoint.</summary>
    public static void MapBlocklistImport(this WebApplication app) =>
        app.MapPost("/api/v1/ops/blocklist:import", ImportAsync).WithTags("Blocklist").For(AdminRole.Operator)
            .WithMetadata(new RequestSizeLimitAttribute(MaxBody))
            .Accepts<string>("text/csv").Produces<ImportPage>()
            .WithDescription("Columns kind,value,reason,until. Published by a worker: nodes know a million entries some seconds after the answer.");

    private static async Task<IResult> ImportAsync(HttpContext context, Transfers transfers, TimeProvider time) =>
        CsvLines.IsCsv(context.Request.ContentType)
            ? await transfers.ReceiveAsync(context, body => TakeAsync(body, context, transfers.Postgres, time))
            : AdminProblems.UnsupportedMediaType("text/csv in UTF-8");

    private static async Task<IResult> TakeAsync(Stream body, HttpContext context, NpgsqlDataSource postgres, TimeProvider time)
    {
        var cancellation = context.RequestAborted;
        var errors = new LineErrors();
        using var csv = new BlocklistCsv(body, errors, time.GetUtcNow());
        if (!await csv.ReadHeaderAsync(cancellation)) return AdminProblems.Invalid(errors.ToProblem());
        await using var import = await BlocklistImport.BeginAsync(postgres, cancellation);
        var entries = 0L;
        for (; await csv.ReadEntryAsync(cancellation) is { } entry; entries++) await import.AddAsync(csv.Line, entry, cancellation);
        if (entries == 0 && !errors.Any) errors.Add(2, "no entry follows the header");

        var repeated = await import.EndAsync(LineErrors.Shown, cancellation);
        foreach (var again in repeated) errors.Add(again.Line, $"value is the same as in line {again.FirstLine}");
        if (repeated.Count > 0) errors.AddUntold(repeated[0].Total - repeated.Count);
        if (errors.Any) return AdminProblems.Invalid(errors.ToProblem());
        return Results.Ok(new ImportPage(await import.TakeOverAsync(context.Actor(), cancellation)));
    }
}
