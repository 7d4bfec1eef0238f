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
/// <param name="Balanced">Whether no unit is missing or counted twice.</param>
/// <param name="Items">The account of each item.</param>
/// <param name="Reconciliation">What the worker's regular comparisons have found; null before the first.</param>
public sealed record LedgerPage(bool Balanced, IReadOnlyList<LedgerLine> Items, ReconciliationPage? Reconciliation);

/// <summary>What the regular comparisons have found.</summary>
/// <param name="RunAt">Of the last one.</param>
/// <param name="RunsUnbalanced">In how many in a row the same difference stood; from three on it is real.</param>
/// <param name="Differences">Units per sku.</param>
/// <param name="FullRunAt">When every order was counted.</param>
/// <param name="Findings">What that count found wrong.</param>
public sealed record ReconciliationPage(string RunAt, int RunsUnbalanced, IReadOnlyDictionary<string, long> Differences, string? FullRunAt, IReadOnlyList<string> Findings);

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
        builder.Services.AddSingleton<SharedLedger>();
        builder.Services.AddSingleton<Reconciliation>();
        builder.Services.AddSingleton<SaleStats>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapStock(this WebApplication app)
    {
        var sale = app.MapGroup("/api/v1/sales/{saleId}").WithTags("Stock");
        sale.MapPost("items/{sku}/stock", ChangeAsync).For(AdminRole.Manager).Accepts<StockChangeBody>("application/json").Produces<StockPage>();
        sale.MapGet("stats", StatsAsync).For(AdminRole.Viewer).Produces<StatsPage>();
        sale.MapGet("ledger", LedgerAsync).For(AdminRole.Viewer).Produces<LedgerPage>()
            .WithDescription("From counters, at one moment. With full=true every order is counted as well, which takes seconds for a million of them.");
    }

    /// <summary>Whether a text will do as a reason.</summary>
    public static bool IsReason(string text) => text.Length <= MaxReason && !string.IsNullOrWhiteSpace(text) && !text.Any(char.IsControl);

    private static async Task<IResult> ChangeAsync(
        HttpContext context, string saleId, string sku, StockChanges changes, SaleReader sales,
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
        if (answer.Result is StockChangeResult.ItemNotFound)
            return AdminProblems.ItemNotFound([.. (await sales.ItemsAsync(saleId, CancellationToken.None)).Select(item => item.Sku)]);
        return AdminProblems.Of(answer, applied => Results.Ok(new StockPage(applied.Stock, applied.Remaining)));
    }

    private static async Task<IResult> StatsAsync(HttpContext context, string saleId, SaleStats stats) =>
        await stats.ReadAsync(saleId, context.RequestAborted) switch
        {
            { Found: false } => AdminProblems.SaleNotFound,
            { Page: { } page } => Results.Ok(page),
            _ => AdminProblems.Unavailable("Redis does not hold the sale as it was last loaded. The worker loads it again."),
        };

    private static async Task<IResult> LedgerAsync(HttpContext context, string saleId, string? full, SharedLedger ledger, LedgerReader reader, Reconciliation reconciliation, Transfers transfers)
    {
        if (full is not (null or "true" or "false")) return AdminProblems.Invalid([new("full", "must be true or false")]);
        if (!SaleBounds.IsSaleId(saleId)) return AdminProblems.SaleNotFound;
        if (await ledger.ReadAsync(saleId, context.RequestAborted) is not { } books) return AdminProblems.SaleNotFound;
        // Over the connections of what takes long: those who count must not keep others from acting.
        if (full == "true") await new Reconciliation(transfers.Postgres, reader).CountAsync(saleId, context.RequestAborted);
        var last = await reconciliation.LastAsync(saleId, context.RequestAborted);
        return Results.Ok(new LedgerPage(books.Balanced && (last?.Findings.Count ?? 0) == 0,
            [.. books.Items.Select(item => new LedgerLine(item.Sku, item.Stock, item.Remaining, item.InFlight, item.Live, item.Difference))],
            last is null ? null : new(Moments.Text(last.RunAt.UtcDateTime), last.RunsUnbalanced, last.Differences, Moments.Text(last.FullRunAt?.UtcDateTime), last.Findings)));
    }
}
