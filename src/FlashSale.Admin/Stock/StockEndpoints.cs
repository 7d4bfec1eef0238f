using System.ComponentModel;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Microsoft.AspNetCore.Mvc;

namespace FlashSale.Admin.Stock;

/// <summary>The body of a change of stock, for the document.</summary>
[Description("Delta: units to add, or to take away when negative. Reason: for the audit log, 1 to 500 characters.")]
public sealed record StockChangeBody(int Delta, string Reason);

/// <summary>An item's units after a change.</summary>
/// <param name="Stock">Units there are, sold or not.</param>
/// <param name="Remaining">Units for sale at that moment.</param>
public sealed record StockPage(int Stock, int Remaining);

/// <summary>The books of a sale, in units.</summary>
public sealed record LedgerPage(bool Balanced, IReadOnlyList<LedgerLine> Items);

/// <summary>The account of an item: difference = stock - remaining - inFlight - live.</summary>
public sealed record LedgerLine(string Sku, long Stock, long Remaining, long InFlight, long Live, long Difference);

/// <summary>What can be asked about and done with the units of a sale.</summary>
public static class StockEndpoints
{
    private const int MaxReason = 500;

    /// <summary>What a reason must be.</summary>
    public const string ReasonRule = "1 to 500 characters, not blank, without control characters";

    /// <summary>Registers what the endpoints need.</summary>
    public static void AddStock(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<ChangeStockScript>();
        builder.Services.AddSingleton<StockChanges>();
        builder.Services.AddSingleton<LedgerReader>();
        builder.Services.AddSingleton<SaleStats>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapStock(this WebApplication app)
    {
        var sale = app.MapGroup("/api/v1/sales/{saleId}").WithTags("Stock");
        sale.MapPost("items/{sku}/stock", ChangeAsync).For(AdminRole.Manager).Accepts<StockChangeBody>("application/json").Produces<StockPage>();
        sale.MapGet("stats", StatsAsync).For(AdminRole.Viewer).Produces<StatsPage>();
        sale.MapGet("ledger", LedgerAsync).For(AdminRole.Viewer).Produces<LedgerPage>();
    }

    /// <summary>Whether a text will do as a reason.</summary>
    public static bool IsReason(string text) => text.Length <= MaxReason && !string.IsNullOrWhiteSpace(text) && !text.Any(char.IsControl);

    private static async Task<IResult> ChangeAsync(
        HttpContext context, string saleId, string sku, StockChanges changes,
        [FromHeader(Name = IdempotencyKey.Header), Description("Required: with the same key an item is changed once.")] string? idempotencyKey)
    {
        // As it was sent: a header that is there twice is no key.
        if (!IdempotencyKey.TryRead(context.Request.Headers[IdempotencyKey.Header], out var key))
            return key is "" ? new ProblemAnswer(IdempotencyKey.Missing) : AdminProblems.Invalid(IdempotencyKey.Invalid);
        var (change, refused) = await JsonForm.ReadAsync(context.Request, (form, errors) =>
        {
            var delta = form.Number("delta", -SaleBounds.MaxStock, SaleBounds.MaxStock);
            var reason = form.Text("reason", IsReason, ReasonRule);
            if (delta == 0 && !errors.Any) form.Error("delta", "must not be 0");
            return new StockChange(saleId, sku, (int)delta, reason, key);
        });
        if (change is null) return refused!;
        // Carried through, whether or not its manager still waits.
        var answer = await changes.ApplyAsync(change, context.Actor(), CancellationToken.None);
        return AdminProblems.Of(answer, applied => Results.Ok(new StockPage(applied.Stock, applied.Remaining)));
    }

    private static async Task<IResult> StatsAsync(HttpContext context, string saleId, SaleStats stats) =>
        await stats.ReadAsync(saleId, context.RequestAborted) switch
        {
            { Found: false } => AdminProblems.SaleNotFound,
            { Page: { } page } => Results.Ok(page),
            _ => AdminProblems.Unavailable("Redis does not hold the sale as it was last loaded. The worker loads it again."),
        };

    private static async Task<IResult> LedgerAsync(HttpContext context, string saleId, LedgerReader ledger)
    {
        if (!SaleBounds.IsSaleId(saleId) || await ledger.ReadAsync(saleId, context.RequestAborted) is not { } books) return AdminProblems.SaleNotFound;
        return Results.Ok(new LedgerPage(books.Balanced,
            [.. books.Items.Select(item => new LedgerLine(item.Sku, item.Stock, item.Remaining, item.InFlight, item.Live, item.Difference))]));
    }
}
