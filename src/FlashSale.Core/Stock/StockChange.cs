namespace FlashSale.Stock;

/// <summary>A manager's request to change an item's stock.</summary>
/// <param name="SaleId">Id of the sale.</param>
/// <param name="Sku">SKU of the item.</param>
/// <param name="Delta">Units to add, or to take away when negative. Not 0.</param>
/// <param name="Reason">The reason, for the audit log.</param>
/// <param name="Key">Idempotency key. Requests with the same key change the item once.</param>
public sealed record StockChange(string SaleId, string Sku, int Delta, string Reason, string Key);

/// <summary>The result of a change of stock.</summary>
public enum StockChangeResult
{
    /// <summary>Postgres has applied the change, and Redis too where it holds the sale.</summary>
    Applied,

    /// <summary>The change would take away units that are sold or in flight.</summary>
    BelowSold,

    /// <summary>The change would raise the stock above <see cref="Sales.SaleBounds.MaxStock"/>.</summary>
    TooLarge,

    /// <summary>Redis has too little memory for so many units.</summary>
    NoMemory,

    /// <summary>No sale has this id.</summary>
    SaleNotFound,

    /// <summary>The sale has no such item.</summary>
    ItemNotFound,

    /// <summary>The sale is closed or archived.</summary>
    SaleClosed,

    /// <summary>The same key has asked for another change of this item before.</summary>
    KeyReused,

    /// <summary>
    /// Postgres has recorded the change, but a store was away or Redis did not hold the sale. Repeating the request
    /// finishes it, or a worker does.
    /// </summary>
    Unfinished,
}

/// <summary>The answer to a change of stock.</summary>
/// <param name="Result">The result.</param>
/// <param name="Stock">The item's stock after the change, in units. 0 if it was not applied.</param>
/// <param name="Remaining">Units that could still be sold when the change was applied. 0 if it was not applied.</param>
/// <param name="Reason">The lack of memory, in words. Null for all other results.</param>
public readonly record struct StockChangeAnswer(StockChangeResult Result, int Stock = 0, int Remaining = 0, string? Reason = null);
