using FlashSale.Contracts;
using FlashSale.Sales;

namespace FlashSale.Api.Sales;

/// <summary>
/// A sale as its page shows it until the sale is published again, its stock is looked at again or its phase ends. So
/// thousands of items are serialized once, not once per visitor.
/// </summary>
internal sealed class ShownSale
{
    // An item is "low" when a tenth of its stock or less is left.
    private const int LowShare = 10;

    private readonly IReadOnlyDictionary<string, long> _stocked;
    private readonly Lazy<TimelessJson> _page;

    public ShownSale(SaleOnSale sale, SalePhase phase, IReadOnlyDictionary<string, long> remaining, IReadOnlyDictionary<string, long> stocked)
    {
        (Sale, Phase, Remaining, _stocked) = (sale, phase, remaining, stocked);
        IsSoldOut = phase is SalePhase.Open && sale.Published.Items.All(item => remaining.TryGetValue(item.Sku, out var left) && left <= 0);
        _page = new Lazy<TimelessJson>(() =>
        {
            var head = HeadOf(sale.Published, phase, IsSoldOut);
            return TimelessJson.Of(
                new SalePage(head.SaleId, head.Name, head.Status, head.OpensAt, head.ClosesAt, head.ServerTime, head.RequiresTicket, [.. sale.Published.Items.Select(Item)]),
                SalePagesJson.Default.SalePage);
        });
    }

    public SaleOnSale Sale { get; }

    public SalePhase Phase { get; }

    public IReadOnlyDictionary<string, long> Remaining { get; }

    /// <summary>Whether the sale is open and nothing is left of any item.</summary>
    public bool IsSoldOut { get; }

    /// <summary>The page with the items, made when first asked for.</summary>
    public TimelessJson Page => _page.Value;

    /// <summary>A sale without its items. The server's time is empty, because each answer puts its own in.</summary>
    public static SaleHead HeadOf(PublishedSale sale, SalePhase phase, bool isSoldOut) => new(
        sale.SaleId, sale.Name, StatusText(phase, isSoldOut), Timestamps.Text(sale.OpensAt), Timestamps.Text(sale.ClosesAt), ServerTime: "", sale.RequiresTicket);

    private static string StatusText(SalePhase phase, bool isSoldOut) => phase switch
    {
        SalePhase.Scheduled => "scheduled",
        SalePhase.Open => isSoldOut ? "sold_out" : "open",
        SalePhase.Paused => "paused",
        SalePhase.Closed => "closed",
    };

    private ItemPage Item(PublishedItem item)
    {
        var stock = _stocked.TryGetValue(item.Sku, out var changed) ? changed : item.Stock;
        var left = Remaining.TryGetValue(item.Sku, out var units) ? units : stock;
        var availability = left <= 0 ? "sold_out" : left * LowShare <= stock ? "low" : "available";
        return new ItemPage(item.Sku, item.Name, new Money(item.Price, item.Currency),
            item.ListPrice is { } listPrice ? new Money(listPrice, item.Currency) : null, item.PerUserLimit, availability);
    }
}
