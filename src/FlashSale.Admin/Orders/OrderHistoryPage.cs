using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;

namespace FlashSale.Admin.Orders;

/// <summary>An event in the history of an order.</summary>
/// <param name="At">When it happened, by the clock of Postgres. For an acceptance, by the clock of Redis.</param>
/// <param name="What">The event: accepted, placed, paid, cancelled, expired, rejected, refunded, payment_created,
/// notice, refund_due, refund_confirmed, units_returned, or the action of an operator as the audit log spells
/// it.</param>
/// <param name="Detail">More about the event, such as the payment or the actor. Null when there is nothing more to
/// say.</param>
public sealed record HistoryPage(string At, string What, string? Detail);

/// <summary>An order with its whole history, oldest first.</summary>
public sealed record OrderHistoryPage(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, Money Amount, string Status, string? Reason,
    string AcceptedAt, string PlacedAt, string? PayBy, string? PaidAt, string? ClosedAt, IReadOnlyList<HistoryPage> History)
{
    /// <summary>Makes the page of an order.</summary>
    public static OrderHistoryPage Of(OrderRow row, IReadOnlyList<HistoryRow> history)
    {
        var order = OrderPage.Of(row);
        return new(order.OrderId, order.SaleId, order.Sku, order.UserId, order.Quantity, order.Amount, order.Status, order.Reason, order.AcceptedAt,
            order.PlacedAt, order.PayBy, order.PaidAt, order.ClosedAt, [.. history.Select(row => new HistoryPage(Moments.Text(row.At), row.What, row.Detail))]);
    }
}
