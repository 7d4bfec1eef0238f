using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Sales;
using Microsoft.AspNetCore.Mvc;
using Npgsql;

namespace FlashSale.Admin.Sales;

/// <summary>
/// POST /api/v1/sales/{saleId}/items:import: imports a file of items into a draft, all or nothing. An item replaces the
/// one with the same sku. The file is streamed into Postgres when all of it has arrived, so no memory grows with its
/// length.
/// </summary>
public static class ItemImportEndpoint
{
    private const int MaxBody = 64 * 1024 * 1024;

    /// <summary>Maps the endpoint.</summary>
    public static void MapItemImport(this WebApplication app) =>
        app.MapPost("/api/v1/sales/{saleId}/items:import", ImportAsync).WithTags("Sales").For(AdminRole.Manager).WithMetadata(new TakesIfMatch())
            .WithMetadata(new RequestSizeLimitAttribute(MaxBody))
            .Accepts<string>("text/csv").Produces<ImportPage>();

    private static async Task<IResult> ImportAsync(HttpContext context, string saleId, SaleReader sales, Transfers transfers)
    {
        if (!context.Request.TryReadIfMatch(out var versions, out var error)) return AdminProblems.Invalid([error]);
        if (!CsvLines.IsCsv(context.Request.ContentType)) return AdminProblems.UnsupportedMediaType("text/csv in UTF-8");
        // Checked before the file is read. The import checks it again when it takes the items over.
        if (await sales.ReadAsync(saleId, context.RequestAborted) is not { } sale) return AdminProblems.SaleNotFound;
        if (sale.Status is not SaleStatus.Draft) return AdminProblems.Of(DraftResult.NotDraft);
        return await transfers.ReceiveAsync(context, body => TakeAsync(body, context, saleId, versions, transfers.Postgres));
    }

    private static async Task<IResult> TakeAsync(Stream body, HttpContext context, string saleId, IReadOnlyList<long>? versions, NpgsqlDataSource postgres)
    {
        var cancellation = context.RequestAborted;
        var errors = new LineErrors();
        using var csv = new ItemCsv(body, errors);
        if (!await csv.ReadHeaderAsync(cancellation)) return AdminProblems.Invalid(errors.ToProblem());
        await using var import = await ItemImport.BeginAsync(postgres, cancellation);
        var items = 0L;
        for (; await csv.ReadItemAsync(cancellation) is { } item; items++) await import.AddAsync(csv.Line, item, cancellation);
        if (items == 0 && !errors.Any) errors.Add(2, "no item follows the header");

        var repeated = await import.EndAsync(LineErrors.Shown, cancellation);
        foreach (var again in repeated) errors.Add(again.Line, $"sku is the same as in line {again.FirstLine}");
        if (repeated.Count > 0) errors.AddUntold(repeated[0].Total - repeated.Count);
        if (errors.Any) return AdminProblems.Invalid(errors.ToProblem());

        var (result, imported) = await import.TakeOverAsync(saleId, versions, context.Actor(), cancellation);
        return result is DraftResult.Done ? Results.Ok(new ImportPage(imported)) : AdminProblems.Of(result);
    }
}
