using Dapper;
using FlashSale.Contracts;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>The changes of status that a stored order can make.</summary>
public enum OrderMove
{
    /// <summary>A payment of the order has succeeded.</summary>
    Pay,

    /// <summary>The shopper or an operator gives the unpaid order up.</summary>
    Cancel,

    /// <summary>The order was not paid in time.</summary>
    Expire,

    /// <summary>An operator gives the money back, or the provider did so unasked.</summary>
    Refund,
}

/// <summary>
/// The legal moves of an order: pending_payment -> paid -> refunded, and pending_payment -> cancelled | expired. SQL
/// enforces the same rules (Migrations/0061_order_moves.sql): each move names the status it starts from, and the row
/// count decides.
/// </summary>
public static class OrderLife
{
    /// <summary>The only status from which an order can make the move.</summary>
    public static OrderStatus From(OrderMove move) => move is OrderMove.Refund ? OrderStatus.Paid : OrderStatus.PendingPayment;

    /// <summary>The status of the order after the move.</summary>
    public static OrderStatus To(OrderMove move) => move switch
    {
        OrderMove.Pay => OrderStatus.Paid,
        OrderMove.Cancel => OrderStatus.Cancelled,
        OrderMove.Expire => OrderStatus.Expired,
        OrderMove.Refund => OrderStatus.Refunded,
    };

    /// <summary>Whether an order in this status can make the move.</summary>
    public static bool Allows(OrderStatus status, OrderMove move) => status == From(move);

    /// <summary>Whether an order in this status holds units.</summary>
    public static bool IsLive(OrderStatus status) => status is OrderStatus.PendingPayment or OrderStatus.Paid;
}

/// <summary>The outcome of a shopper's cancellation.</summary>
public enum CancelOutcome
{
    /// <summary>The order is cancelled. Its units are on their way back to Redis.</summary>
    Cancelled,

    /// <summary>The order does not wait for payment, so it cannot be cancelled.</summary>
    NotCancellable,

    /// <summary>The shopper has already cancelled as many orders of this sale as are allowed.</summary>
    TooMany,

    /// <summary>
    /// A load of the sale holds its lock. Nothing changed, and the same request may succeed in a moment.
    /// </summary>
    Busy,
}

/// <summary>
/// When unpaid orders expire, and how many a shopper may let expire without losing units of the purchase limit.
/// </summary>
/// <param name="Grace">
/// The least time that an order is kept after payBy, because a payment that began in time may still come in.
/// </param>
/// <param name="Patience">
/// The further time that an order with an open payment is kept while the provider does not say how the payment stands.
/// </param>
/// <param name="MaxExpired">
/// So many orders of a sale may expire for one shopper. Units of further expired orders stay on the shopper's purchase
/// limit. 0 means no bound.
/// </param>
public sealed record ExpiryRules(TimeSpan Grace, TimeSpan Patience, int MaxExpired);

/// <summary>A sale that has unpaid orders past their payBy and grace.</summary>
/// <param name="SaleId">Id of the sale.</param>
/// <param name="Number">Number of the sale, which is part of its lock.</param>
/// <param name="HasEnded">Whether the sale is closed or past closesAt, so that it sells nothing any more.</param>
public sealed record SaleWithDueOrders(string SaleId, int Number, bool HasEnded);

/// <summary>
/// Moves orders by calling the functions in Migrations/0061_order_moves.sql. Payments have callers of their own.
/// </summary>
public sealed class OrderMoves(NpgsqlDataSource postgres)
{
    // cancel_order raises this SQLSTATE when the shopper has cancelled too often.
    private const string TooManyCancellations = "FS002";

    /// <summary>Cancels a shopper's unpaid order.</summary>
    /// <param name="order">The order as the caller read it. Only its ids are used, so it may be out of date.</param>
    /// <param name="limit">
    /// The number of orders of a sale that one shopper may cancel. 0 allows no cancellation.
    /// </param>
    /// <param name="cancellation">Ends the query. The outcome is unknown then.</param>
    public async Task<CancelOutcome> CancelAsync(Order order, int limit, CancellationToken cancellation)
    {
        try
        {
            await using var connection = await postgres.OpenConnectionAsync(cancellation);
            var outcome = await connection.ExecuteScalarAsync<string>(new CommandDefinition("select cancel_order(@SaleId, @number, @OrderId, @UserId, @limit)",
                new { order.SaleId, number = NumberOf(order.OrderId), order.OrderId, order.UserId, limit }, cancellationToken: cancellation));
            return outcome == "cancelled" ? CancelOutcome.Cancelled : CancelOutcome.NotCancellable;
        }
        catch (PostgresException e) when (e.SqlState == TooManyCancellations)
        {
            return CancelOutcome.TooMany;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable)
        {
            return CancelOutcome.Busy;
        }
    }

    /// <summary>Cancels an unpaid order for an operator, in the caller's transaction.</summary>
    /// <returns>False when the order does not wait for payment.</returns>
    public static Task<bool> CancelAsync(NpgsqlTransaction transaction, Guid orderId, string saleId, string reason) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("""
            select exists (select 1 from close_orders(@saleId, @number, array[@orderId], 'pending_payment', 'cancelled', @reason, null))
            """, new { saleId, number = NumberOf(orderId), orderId, reason }, transaction);

    /// <summary>
    /// Refunds a paid order in the caller's transaction. The refund of its payment becomes due, and a worker asks the
    /// provider for it.
    /// </summary>
    /// <param name="transaction">The caller's transaction.</param>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="saleId">Id of the order's sale.</param>
    /// <param name="reason">The reason, kept with the order and the refund.</param>
    /// <param name="returnUnits">
    /// True puts the units back on sale. False takes them out of the stock, and they stay on the shopper's limit.
    /// </param>
    /// <param name="actor">The operator or system that refunds the order, recorded with the change of stock.</param>
    /// <returns>False when the order is not paid.</returns>
    public static Task<bool> RefundAsync(NpgsqlTransaction transaction, Guid orderId, string saleId, string reason, bool returnUnits, Actor actor) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("select refund_order(@saleId, @number, @orderId, @reason, @returnUnits, @Name, @Role)",
            new { saleId, number = NumberOf(orderId), orderId, reason, returnUnits, actor.Name, actor.Role }, transaction);

    /// <summary>
    /// Lists sales that have unpaid orders past payBy and the grace, by Postgres' clock. Sales that still sell come
    /// first.
    /// </summary>
    public async Task<IReadOnlyList<SaleWithDueOrders>> SalesWithDueOrdersAsync(TimeSpan grace, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var sales = await connection.QueryAsync<SaleWithDueOrders>(new CommandDefinition("""
            select s.sale_id, s.number, s.status = 'closed' or s.closes_at <= now() as has_ended from sale s
            where s.status in ('live', 'paused', 'closed')
              and exists (select 1 from orders o where o.sale_id = s.sale_id and o.status = 'pending_payment' and o.pay_by <= now() - @grace)
            order by has_ended, s.number
            """, new { grace }, cancellationToken: cancellation));
        return sales.AsList();
    }

    /// <summary>Expires due orders of a sale, oldest first.</summary>
    /// <returns>
    /// The number of expired orders. It is below the limit when no more orders are due, when the rest wait for the
    /// provider's answer or are locked by other transactions, or when a rebuild holds the sale's lock.
    /// </returns>
    public async Task<int> ExpireAsync(string saleId, int number, ExpiryRules rules, int limit, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<int>(new CommandDefinition(
            // Do not wait for a lock that is taken. Other sales have due orders as well.
            """
            select case when pg_try_advisory_xact_lock_shared(1, @number)
              then expire_orders(@saleId, @number, now() - @Grace, now() - @Grace - @Patience, @limit, @MaxExpired) else 0 end
            """, new { saleId, number, rules.Grace, rules.Patience, limit, rules.MaxExpired }, cancellationToken: cancellation));
    }

    private static int NumberOf(Guid orderId)
    {
        OrderId.TryGetSaleNumber(orderId, out var number);
        return number;
    }
}
