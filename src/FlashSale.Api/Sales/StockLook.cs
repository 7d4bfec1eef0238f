using FlashSale.Sales;

namespace FlashSale.Api.Sales;

/// <summary>The stock of a sale as this node saw it last, and the page it gave.</summary>
public sealed class StockLook
{
    private static readonly IReadOnlyDictionary<string, long> Nothing = new Dictionary<string, long>(StringComparer.Ordinal);

    private volatile ShownSale? _shown;

    /// <summary>When somebody looked, <see cref="Environment.TickCount64"/>.</summary>
    internal long At = long.MinValue / 2;

    /// <summary>Whether somebody looks now: 1 or 0.</summary>
    internal int Busy;

    /// <summary>Units that remain, by sku; empty before the first look.</summary>
    internal volatile IReadOnlyDictionary<string, long> Remaining = Nothing;

    /// <summary>Units of stock of the items that were changed since the sale was loaded, by sku.</summary>
    internal volatile IReadOnlyDictionary<string, long> Stocked = Nothing;

    /// <summary>The sale with this stock, at a time: what was shown before, unless something is new.</summary>
    internal ShownSale Shown(SaleOnSale sale, long now)
    {
        var (shown, remaining, phase) = (_shown, Remaining, sale.Published.PhaseAt(now));
        return shown is not null && shown.Sale == sale && shown.Remaining == remaining && shown.Phase == phase
            ? shown
            : _shown = new ShownSale(sale, phase, remaining, Stocked);
    }
}
