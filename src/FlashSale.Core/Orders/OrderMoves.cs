using Dapper;
using FlashSale.Contracts;
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
/// same (Migrations/0021_order_moves.sql): each move names the status it starts from, and the row count decides.
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
}

/// <summary>Moves orders; the callers of the functions in Migrations/0021_order_moves.sql, but for payments.</summary>
public sealed class OrderMoves(NpgsqlDataSource postgres)
{
    /// <summary>How long after payBy an order is kept: a payment that was begun in time may still come in.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);

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
    }

    /// <summary>Refunds a paid order in the caller's transaction: the units return, and its payment is to be refunded.</summary>
    /// <returns>False when it is not paid.</returns>
    public static Task<bool> RefundAsync(NpgsqlTransaction transaction, Guid orderId, string saleId, string reason) =>
        transaction.Connection!.ExecuteScalarAsync<bool>("select refund_order(@saleId, @number, @orderId, @reason)",
            new { saleId, number = NumberOf(orderId), orderId, reason }, transaction);

    /// <summary>Sales with orders whose payment was due before the grace, by Postgres' clock.</summary>
    public async Task<IReadOnlyList<(string SaleId, int Number)>> SalesWithDueOrdersAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var sales = await connection.QueryAsync<(string, int)>(new CommandDefinition("""
            select s.sale_id, s.number from sale s
            where s.status in ('live', 'paused', 'closed')
              and exists (select 1 from orders o where o.sale_id = s.sale_id and o.status = 'pending_payment' and o.pay_by <= now() - @Grace)
            order by s.number
            """, new { Grace }, cancellationToken: cancellation));
        return sales.AsList();
    }

    /// <summary>Expires due orders of a sale, oldest first.</summary>
    /// <returns>How many; fewer than the limit when no more are due, or others are at it.</returns>
    public async Task<int> ExpireAsync(string saleId, int number, int limit, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<int>(new CommandDefinition(
            "select expire_orders(@saleId, @number, now() - @Grace, @limit)", new { saleId, number, Grace, limit }, cancellationToken: cancellation));
    }

    private static int NumberOf(Guid orderId)
    {
        OrderId.TryGetSaleNumber(orderId, out var number);
        return number;
    }
}
