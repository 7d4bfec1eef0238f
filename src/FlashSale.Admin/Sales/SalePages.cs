using FlashSale.Admin.Http;
using FlashSale.Contracts;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>An item as managers see it.</summary>
public sealed record ItemPage(string Sku, string Name, Money Price, Money? ListPrice, int Stock, int PerUserLimit);

/// <summary>A sale as managers see it.</summary>
/// <param name="PausedBy">Of a paused sale: <c>manager</c>, or <c>restore</c> when Postgres was restored to an earlier
/// point and an operator must rebuild the sale.</param>
public sealed record SalePage(
    string SaleId, string Name, string Status, string? PausedBy, string OpensAt, string ClosesAt, int? PerUserLimit, int PayWithinSeconds,
    bool RequiresTicket, int? AdmissionPerSecond, bool LoadRun, long Epoch, long Version, IReadOnlyList<ItemPage> Items)
{
    // The status follows the clock, and the stock of a loaded sale changes without a new version. So the tag holds
    // both.
    internal string Tag => $"{Version}-{Status}{(PausedBy is null ? "" : $"-{PausedBy}")}-{StockTag:x}";

    private ulong StockTag => Items.Aggregate(0UL, (tag, item) => unchecked(tag * 31 + (ulong)item.Stock));

    /// <summary>Makes the page of a sale.</summary>
    /// <param name="sale">The sale.</param>
    /// <param name="rebuildRequired">Whether it stands still until an operator rebuilds it.</param>
    /// <param name="now">The time that the status is judged by, Unix milliseconds.</param>
    public static SalePage Of(PublishedSale sale, bool rebuildRequired, long now) => new(
        sale.SaleId, sale.Name, SaleTransitions.PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, now),
        PausedByText(sale.Status, rebuildRequired), Timestamps.Text(sale.OpensAt), Timestamps.Text(sale.ClosesAt), sale.PerUserLimit, sale.PayWithinSeconds, sale.RequiresTicket,
        sale.AdmissionPerSecond, sale.IsLoadRun, sale.Epoch, sale.Version, [.. sale.Items.Select(Of)]);

    /// <summary>The page as the answer to a request, with its tag.</summary>
    public IResult Tagged(HttpContext context) => context.Tagged(Tag, Results.Ok(this));

    internal static string? PausedByText(SaleStatus status, bool rebuildRequired) =>
        rebuildRequired ? "restore" : status is SaleStatus.Paused ? "manager" : null;

    private static ItemPage Of(PublishedItem item) => new(
        item.Sku, item.Name, new Money(item.Price, item.Currency), item.ListPrice is { } listPrice ? new Money(listPrice, item.Currency) : null,
        item.Stock, item.PerUserLimit);
}

/// <summary>A sale in a list, with the number of its items instead of the items.</summary>
/// <param name="PausedBy">As in <see cref="SalePage"/>.</param>
public sealed record SaleSummary(
    string SaleId, string Name, string Status, string? PausedBy, string OpensAt, string ClosesAt, int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket,
    int? AdmissionPerSecond, bool LoadRun, long Epoch, long Version, long ItemCount, long Units)
{
    /// <summary>Makes the summary of a sale.</summary>
    public static SaleSummary Of(SaleHead sale, long now) => new(
        sale.SaleId, sale.Name, SaleTransitions.PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, now),
        SalePage.PausedByText(sale.Status, sale.RebuildRequired), Timestamps.Text(sale.OpensAt), Timestamps.Text(sale.ClosesAt),
        sale.PerUserLimit, sale.PayWithinSeconds, sale.RequiresTicket,
        sale.AdmissionPerSecond, sale.IsLoadRun, sale.Epoch, sale.Version, sale.ItemCount, sale.Units);
}

/// <summary>A page of the sales, newest first. NextCursor is null on the last page.</summary>
public sealed record SaleList(IReadOnlyList<SaleSummary> Sales, string? NextCursor);

/// <summary>The items and units that a preload or rebuild put into Redis, and the new epoch.</summary>
public sealed record LoadPage(int Items, long Units, long Epoch);

/// <summary>How many items, or entries of the blocklist, an import brought.</summary>
public sealed record ImportPage(int Imported);
