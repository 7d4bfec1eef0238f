namespace FlashSale.Orders;

/// <summary>Where an order stands.</summary>
public enum OrderStatus
{
    /// <summary>Reserved in Redis, not yet in Postgres. Never a row's state.</summary>
    Accepted,

    /// <summary>Stored; waits for its payment.</summary>
    PendingPayment,

    /// <summary>Paid.</summary>
    Paid,

    /// <summary>Cancelled by the shopper.</summary>
    Cancelled,

    /// <summary>Not paid in time.</summary>
    Expired,

    /// <summary>Refused by Postgres: Redis had forgotten what it had sold.</summary>
    Rejected,

    /// <summary>Paid, and paid back.</summary>
    Refunded,
}

/// <summary>An order as it can be read.</summary>
/// <param name="OrderId">See <see cref="Contracts.OrderId"/>.</param>
/// <param name="SaleId">Its sale.</param>
/// <param name="Sku">Its item.</param>
/// <param name="UserId">Who bought.</param>
/// <param name="Quantity">Units.</param>
/// <param name="Amount">Of all units, minor units.</param>
/// <param name="Currency">ISO 4217.</param>
/// <param name="Status">Where it stands.</param>
/// <param name="Reason">Why it was rejected, cancelled or refunded.</param>
/// <param name="AcceptedAt">Redis TIME of the acceptance.</param>
/// <param name="PlacedAt">When Postgres stored it.</param>
/// <param name="PayBy">Until when it can be paid.</param>
/// <param name="PaidAt">When it was paid.</param>
/// <param name="ClosedAt">When it was cancelled, expired, rejected or refunded.</param>
public sealed record Order(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, OrderStatus Status, string? Reason,
    DateTimeOffset AcceptedAt, DateTimeOffset? PlacedAt, DateTimeOffset? PayBy, DateTimeOffset? PaidAt, DateTimeOffset? ClosedAt);

/// <summary>How statuses are spelled in the contract and in the table.</summary>
public static class OrderStatuses
{
    /// <summary>The spelling of a status.</summary>
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

    /// <summary>The status of a spelling.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is none.</exception>
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

    /// <summary>Whether the order is decided: paid (a refund may follow) or closed.</summary>
    public static bool IsFinal(this OrderStatus status) => status is not (OrderStatus.Accepted or OrderStatus.PendingPayment);
}
