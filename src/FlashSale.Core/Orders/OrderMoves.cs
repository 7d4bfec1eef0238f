using Dapper;
using FlashSale.Contracts;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>What can happen to a stored order.</summary>
public enum OrderMove
{
    /// <summary>Its payment has succeeded.</summary>
    Pay,

    /// <summary>The shopper gives it up.</summary>
    Cancel,

    /// <summary>It was not paid in time.</summary>
    Expire,

    /// <summary>An operator gives the money back.</summary>
    Refund,
}

/// <summary>
/// Which moves are legal: pending_payment -> paid -> refunded; pending_payment -> cancelled | expired. SQL enforces the
/// same (Migrations/0061_order_moves.sql): each move names the status it starts from, and the row count decides.
/// </summary>
public static class OrderLife
{
    /// <summary>The one status that a move starts from.</summary>
    public static OrderStatus From(OrderMove move) => move is OrderMove.Refund ? OrderStatus.Paid : OrderStatus.PendingPayment;

    /// <summary>Where a move leads.</summary>
    public static OrderStatus To(OrderMove move) => move switch
    {
        OrderMove.Pay => OrderStatus.Paid,
        OrderMove.Cancel => OrderStatus.Cancelled,
        OrderMove.Expire => OrderStatus.Expired,
        OrderMove.Refund => OrderStatus.Refunded,
    };

    /// <summary>Whether an order in a status can make a move.</summary>
    public static bool Allows(OrderStatus status, OrderMove move) => status == From(move);

    /// <summary>Whether an order in a status holds units.</summary>
    public static bool IsLive(OrderStatus status) => status is OrderStatus.PendingPayment or OrderStatus.Paid;
}

/// <summary>How a cancellation ended.</summary>
public enum CancelOutcome
{
    /// <summary>Done: the units are on their way back.</summary>
    Cancelled,

    /// <summary>The order does not wait for payment.</summary>
    NotCancellable,

    /// <summary>The shopper has cancelled too often in this sale.</summary>
    TooMany,

    /// <summary>The sale is being loaded: nothing was done, and the same request may succeed in a moment.</summary>
    Busy,
}

/// <summary>When unpaid orders expire, and what that costs their shoppers.</summary>
/// <param name="Grace">How long after payBy an order is kept at least: a payment that was begun in time may still come in.</param>
/// <param name="Patience">How much longer an order with an open payment is kept while the provider does not say what became of it.</param>
/// <param name="MaxExpired">So many orders of a sale may expire before the shopper's further ones stay on the purchase limit; 0 is no bound.</param>
public sealed record ExpiryRules(TimeSpan Grace, TimeSpan Patience, int MaxExpired);

/// <summary>A sale with orders whose payment is due.</summary>
/// <param name="SaleId">The sale.</param>
/// <param name="Number">Its number, part of its lock.</param>
/// <param name="HasEnded">Whether nothing of it is sold any more.</param>
public sealed record SaleWithDueOrders(string SaleId, int Number, bool HasEnded);

/// <summary>Moves orders; the callers of the functions in Migrations/0061_order_moves.sql, but for payments.</summary>
public sealed class OrderMoves(NpgsqlDataSource postgres)
{
    // The shopper has cancelled too often, see cancel_order.
    private const string TooManyCancellations = "FS002";

    /// <summary>Cancels a shopper's unpaid order.</summary>
    /// <param name="order">As it was read; only its identity matters.</param>
    /// <param name="limit">How many orders of a sale one shopper may cancel.</param>
    /// <param name="cancellation">Ends the query; the outcome is unknown then.</param>
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
    /// <returns>False when it does not wait for payment.</returns>
    public static Task<bool> CancelAsync(NpgsqlTransaction transaction, Guid orderId, string saleId, string reason) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("""
            select exists (select 1 from close_orders(@saleId, @number, array[@orderId], 'pending_payment', 'cancelled', @reason, null))
            """, new { saleId, number = NumberOf(orderId), orderId, reason }, transaction);

    /// <summary>Refunds a paid order in the caller's transaction: its payment is to be refunded.</summary>
    /// <param name="transaction">The caller's.</param>
    /// <param name="orderId">Which.</param>
    /// <param name="saleId">Its sale.</param>
    /// <param name="reason">Why.</param>
    /// <param name="returnUnits">Whether its units go back on sale; else they leave the stock, and stay on the shopper's limit.</param>
    /// <param name="actor">Who refunds it.</param>
    /// <returns>False when it is not paid.</returns>
    public static Task<bool> RefundAsync(NpgsqlTransaction transaction, Guid orderId, string saleId, string reason, bool returnUnits, Actor actor) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("select refund_order(@saleId, @number, @orderId, @reason, @returnUnits, @Name, @Role)",
            new { saleId, number = NumberOf(orderId), orderId, reason, returnUnits, actor.Name, actor.Role }, transaction);

    /// <summary>Sales with orders whose payment was due before the grace, by Postgres' clock; those that still sell first.</summary>
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
    /// <returns>How many; fewer than the limit when no more are due, wait for the provider's answer, others are at them, or a rebuild has the sale for itself.</returns>
    public async Task<int> ExpireAsync(string saleId, int number, ExpiryRules rules, int limit, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<int>(new CommandDefinition(
            // A lock that is taken is not waited for: orders of other sales are due as well.
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
