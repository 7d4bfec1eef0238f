using System.ComponentModel;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Microsoft.AspNetCore.Mvc;

namespace FlashSale.Admin.Stock;

/// <summary>The body of a change of stock, as OpenAPI shows it.</summary>
[Description("Delta: units to add, or to take away when negative. Reason: for the audit log, 1 to 500 characters.")]
public sealed record StockChangeBody(int Delta, string Reason);

/// <summary>An item's units after a change.</summary>
/// <param name="Stock">All units, sold or not.</param>
/// <param name="Remaining">Units for sale when the change was applied.</param>
public sealed record StockPage(int Stock, int Remaining);

/// <summary>The books of a sale, in units.</summary>
/// <param name="Balanced">Whether no unit is missing or counted twice, and the last full count found nothing
/// wrong.</param>
/// <param name="Items">The account of each item.</param>
/// <param name="Reconciliation">The findings of the worker's regular comparisons. Null before the first.</param>
public sealed record LedgerPage(bool Balanced, IReadOnlyList<LedgerLine> Items, ReconciliationPage? Reconciliation);

/// <summary>The findings of the regular comparisons.</summary>
/// <param name="RunAt">When the last comparison ran.</param>
/// <param name="RunsUnbalanced">In how many comparisons in a row the same difference stood. From three on it is
/// real.</param>
/// <param name="Differences">The units that differ, by sku.</param>
/// <param name="FullRunAt">When every order was last counted. Null when they never were.</param>
/// <param name="Findings">The errors that this count found.</param>
public sealed record ReconciliationPage(string RunAt, int RunsUnbalanced, IReadOnlyDictionary<string, long> Differences, string? FullRunAt, IReadOnlyList<string> Findings);

/// <summary>The account of an item: difference = stock - remaining - inFlight - live.</summary>
public sealed record LedgerLine(string Sku, long Stock, long Remaining, long InFlight, long Live, long Difference);

/// <summary>Everything that concerns the units of a sale: changes of stock, figures, books.</summary>
public static class StockEndpoints
{
    private const int MaxReason = 500;

    /// <summary>The rule for a reason, as errors spell it.</summary>
    public const string ReasonRule = "1 to 500 characters, not blank, without control characters";

    /// <summary>Registers the services of the endpoints.</summary>
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

    /// <summary>Whether a text keeps <see cref="ReasonRule"/>.</summary>
    public static bool IsReason(string text) => text.Length <= MaxReason && !string.IsNullOrWhiteSpace(text) && !text.Any(char.IsControl);

    private static async Task<IResult> ChangeAsync(
        HttpContext context, string saleId, string sku, StockChanges changes, SaleReader sales,
        [FromHeader(Name = IdempotencyKey.Header), Description("Required: with the same key an item is changed once.")] string? idempotencyKey)
    {
        // The header is read as it was sent, because one that is there twice is no key.
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
        // The change is carried through, even if the manager does not wait any more.
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
        // A full count uses the connections for work that takes long, so that it does not keep others from acting.
        if (full == "true") await new Reconciliation(transfers.Postgres, reader).CountAsync(saleId, context.RequestAborted);
        var last = await reconciliation.LastAsync(saleId, context.RequestAborted);
        return Results.Ok(new LedgerPage(books.Balanced && (last?.Findings.Count ?? 0) == 0,
            [.. books.Items.Select(item => new LedgerLine(item.Sku, item.Stock, item.Remaining, item.InFlight, item.Live, item.Difference))],
            last is null ? null : new(Moments.Text(last.RunAt.UtcDateTime), last.RunsUnbalanced, last.Differences, Moments.Text(last.FullRunAt?.UtcDateTime), last.Findings)));
    }
}
