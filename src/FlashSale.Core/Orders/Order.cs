namespace FlashSale.Orders;

/// <summary>The state of an order.</summary>
public enum OrderStatus
{
    /// <summary>
    /// Redis has reserved the units, and Postgres has not stored the order yet. No row of Postgres has this status.
    /// </summary>
    Accepted,

    /// <summary>Postgres has stored the order. It waits for its payment.</summary>
    PendingPayment,

    /// <summary>The payment has succeeded.</summary>
    Paid,

    /// <summary>The shopper or an operator cancelled the order before it was paid.</summary>
    Cancelled,

    /// <summary>The order was not paid in time.</summary>
    Expired,

    /// <summary>
    /// Postgres refused the order for stock, a limit or as a duplicate, which happens where Redis had forgotten earlier
    /// orders. An operator can also reject a dead letter.
    /// </summary>
    Rejected,

    /// <summary>The order was paid, and the money was given back.</summary>
    Refunded,
}

/// <summary>An order as the readers return it.</summary>
/// <param name="OrderId">See <see cref="Contracts.OrderId"/>.</param>
/// <param name="SaleId">Id of the sale.</param>
/// <param name="Sku">SKU of the item.</param>
/// <param name="UserId">Id of the shopper that bought.</param>
/// <param name="Quantity">Units bought.</param>
/// <param name="Amount">Price of all units together, in minor units of <paramref name="Currency"/>.</param>
/// <param name="Currency">ISO 4217 code.</param>
/// <param name="Status">The state of the order.</param>
/// <param name="Reason">Why the order was rejected, cancelled or refunded. Null otherwise.</param>
/// <param name="AcceptedAt">Redis TIME of the acceptance.</param>
/// <param name="PlacedAt">When Postgres stored the order. Null while Postgres has no row for it.</param>
/// <param name="PayBy">The end of the time to pay. Null while the order is in flight and for rejected orders.</param>
/// <param name="PaidAt">When the order was paid. Null if it never was.</param>
/// <param name="ClosedAt">When the order was cancelled, expired, rejected or refunded. Null before that.</param>
public sealed record Order(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, OrderStatus Status, string? Reason,
    DateTimeOffset AcceptedAt, DateTimeOffset? PlacedAt, DateTimeOffset? PayBy, DateTimeOffset? PaidAt, DateTimeOffset? ClosedAt);

/// <summary>The spellings of order statuses in the HTTP contract and in the table.</summary>
public static class OrderStatuses
{
    /// <summary>Returns the spelling of a status.</summary>
    public static string Text(this OrderStatus status) => status switch
    {
        OrderStatus.Accepted => "accepted",
        OrderStatus.PendingPayment => "pending_payment",
        OrderStatus.Paid => "paid",
        OrderStatus.Cancelled => "cancelled",
        OrderStatus.Expired => "expired",
        OrderStatus.Rejected => "rejected",
        OrderStatus.Refunded => "refunded",
    };

    /// <summary>Returns the status that a spelling stands for.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The text is not the spelling of a status.</exception>
    public static OrderStatus Parse(string text) => text switch
    {
        "accepted" => OrderStatus.Accepted,
        "pending_payment" => OrderStatus.PendingPayment,
        "paid" => OrderStatus.Paid,
        "cancelled" => OrderStatus.Cancelled,
        "expired" => OrderStatus.Expired,
        "rejected" => OrderStatus.Rejected,
        "refunded" => OrderStatus.Refunded,
        _ => throw new ArgumentOutOfRangeException(nameof(text), text, "Not an order status."),
    };

    /// <summary>Whether the order is decided: paid (a refund may still follow) or closed.</summary>
    public static bool IsFinal(this OrderStatus status) => status is not (OrderStatus.Accepted or OrderStatus.PendingPayment);
}
