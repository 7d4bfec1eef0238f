namespace FlashSale.Stock;

/// <summary>A change of an item's stock that a manager asks for.</summary>
/// <param name="SaleId">The sale.</param>
/// <param name="Sku">The item.</param>
/// <param name="Delta">Units to add, or to take away when negative; not 0.</param>
/// <param name="Reason">For the audit log.</param>
/// <param name="Key">Idempotency key: the same key changes the item once.</param>
public sealed record StockChange(string SaleId, string Sku, int Delta, string Reason, string Key);

/// <summary>What became of a change of stock.</summary>
public enum StockChangeResult
{
    /// <summary>Applied in Postgres and, where the sale is loaded, in Redis.</summary>
    Applied,

    /// <summary>It would take away units that are sold or in flight.</summary>
    BelowSold,

    /// <summary>It would raise the stock above <see cref="Sales.SaleBounds.MaxStock"/>.</summary>
    TooLarge,

    /// <summary>Redis has no memory for so many units.</summary>
    NoMemory,

    /// <summary>There is no such sale.</summary>
    SaleNotFound,

    /// <summary>The sale has no such item.</summary>
    ItemNotFound,

    /// <summary>The sale is closed.</summary>
    SaleClosed,

    /// <summary>The key has asked for another change of this item before.</summary>
    KeyReused,

    /// <summary>Recorded, but Redis could not be asked. Repeating it, or the worker, finishes it.</summary>
    Unfinished,
}

/// <summary>A change's outcome.</summary>
/// <param name="Result">What became of it.</param>
/// <param name="Stock">Units after it, when applied.</param>
/// <param name="Remaining">Units that can still be sold, at the moment when it was applied.</param>
/// <param name="Reason">What lacks, in words; null where the result says it all.</param>
public readonly record struct StockChangeAnswer(StockChangeResult Result, int Stock = 0, int Remaining = 0, string? Reason = null);
