using FlashSale.Sales;

namespace FlashSale.Api.Sales;

/// <summary>The stock of a sale as this node saw it last, and the page made of it.</summary>
public sealed class StockLook
{
    private static readonly IReadOnlyDictionary<string, long> Nothing = new Dictionary<string, long>(StringComparer.Ordinal);

    private volatile ShownSale? _shown;

    /// <summary>When the last look began, <see cref="Environment.TickCount64"/>.</summary>
    internal long At = long.MinValue / 2;

    /// <summary>1 while a look is under way, else 0.</summary>
    internal int Busy;

    /// <summary>Units that remain, by sku. Empty before the first look.</summary>
    internal volatile IReadOnlyDictionary<string, long> Remaining = Nothing;

    /// <summary>Units of stock by sku, of the items that were changed since the sale was loaded.</summary>
    internal volatile IReadOnlyDictionary<string, long> Stocked = Nothing;

    /// <summary>
    /// The sale with this stock at a time (Unix milliseconds). Returns the object of the last call unless something has
    /// changed.
    /// </summary>
    internal ShownSale Shown(SaleOnSale sale, long now)
    {
        var (shown, remaining, phase) = (_shown, Remaining, sale.Published.PhaseAt(now));
        return shown is not null && shown.Sale == sale && shown.Remaining == remaining && shown.Phase == phase
            ? shown
            : _shown = new ShownSale(sale, phase, remaining, Stocked);
    }
}
