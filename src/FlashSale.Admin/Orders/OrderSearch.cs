using Dapper;
using FlashSale.Orders;
using Npgsql;

namespace FlashSale.Admin.Orders;

/// <summary>The orders to look for. A null member excludes nothing, but a null SaleId excludes load runs.</summary>
/// <param name="SaleId">Of this sale. Null means every sale that is not a load run.</param>
/// <param name="Sku">Of this item.</param>
/// <param name="UserId">Of this shopper.</param>
/// <param name="Status">In this status, as the table spells it.</param>
/// <param name="From">Accepted at this time or later.</param>
/// <param name="To">Accepted before this time.</param>
/// <param name="Before">With a lower id than this order, which means older.</param>
public sealed record OrderFilter(string? SaleId, string? Sku, string? UserId, string? Status, DateTimeOffset? From, DateTimeOffset? To, Guid? Before);

/// <summary>
/// Finds stored orders, newest first. Orders in flight are not stored yet. The statistics count them.
/// </summary>
public sealed class OrderSearch(NpgsqlDataSource postgres)
{
    private const string Columns =
        "order_id, sale_id, sku, user_id, quantity, amount, currency, status, reason, accepted_at, placed_at, pay_by, paid_at, closed_at";

    /// <summary>Finds one order. Null when Postgres does not have it.</summary>
    public async Task<OrderRow?> FindAsync(Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<OrderRow>(
            new CommandDefinition($"select {Columns} from orders where order_id = @orderId", new { orderId }, cancellationToken: cancellation));
    }

    /// <summary>The whole history of an order, oldest first.</summary>
    public async Task<IReadOnlyList<HistoryRow>> HistoryAsync(Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<HistoryRow>(new CommandDefinition("""
            select at, what, detail from (
                select 1 as step, accepted_at as at, 'accepted' as what, null as detail from orders where order_id = @orderId
                union all select 2, placed_at, 'placed', null from orders where order_id = @orderId
                union all select 3, created_at, 'payment_created', payment_id from payment where order_id = @orderId
                union all select 4, received_at, 'notice', format('%s of %s: %s', type, payment_id, outcome) from webhook_receipt where order_id = @orderId
                union all select 5, paid_at, 'paid', null from orders where order_id = @orderId and paid_at is not null
                union all select 6, at, action, format('by %s (%s)', actor, role) from audit_log where subject = @orderId::text
                union all select 7, closed_at, status, reason from orders where order_id = @orderId and closed_at is not null
                union all select 8, created_at, 'refund_due', format('%s: %s', payment_id, reason) from refund where order_id = @orderId
                union all select 9, confirmed_at, 'refund_confirmed', payment_id from refund where order_id = @orderId and confirmed_at is not null
                union all select 10, created_at, 'units_returned', case when keeps_count then 'they stay on the purchase limit' end
                    from stock_return where order_id = @orderId) h
            order by at, step
            """, new { orderId }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Finds at most <paramref name="limit"/> orders, newest first.</summary>
    public async Task<IReadOnlyList<OrderRow>> FindAsync(OrderFilter filter, int limit, CancellationToken cancellation)
    {
        var where = Where(filter);
        // A shopper's orders have two partial indexes, one for rejected orders and one for all others. Each half finds
        // its own.
        var sql = filter.UserId is null
            ? Half(where)
            : $"select * from (({Half($"{where} and status <> 'rejected'")}) union all ({Half($"{where} and status = 'rejected'")})) o order by order_id desc limit @limit";
        var arguments = new DynamicParameters(new { filter.SaleId, filter.Sku, filter.UserId, filter.Status, filter.From, filter.To, filter.Before, limit });
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<OrderRow>(new CommandDefinition(sql, arguments, cancellationToken: cancellation))).AsList();

        static string Half(string where) => $"select {Columns} from orders where {where} order by order_id desc limit @limit";
    }

    // The statement holds only the conditions that are asked for, so that the planner sees which index serves them.
    private static string Where(OrderFilter filter)
    {
        // A search over all sales leaves out load runs, because it looks for the orders of people.
        List<string> conditions = [filter.SaleId is null ? "sale_id not in (select sale_id from sale where load_run)" : "sale_id = @SaleId"];
        if (filter.Sku is not null) conditions.Add("sku = @Sku");
        if (filter.UserId is not null) conditions.Add("user_id = @UserId");
        if (filter.Status is not null) conditions.Add("status = @Status");
        if (filter.From is not null) conditions.Add("accepted_at >= @From");
        if (filter.To is not null) conditions.Add("accepted_at < @To");
        if (filter.Before is not null) conditions.Add("order_id < @Before");
        return string.Join(" and ", conditions);
    }
}

/// <summary>An event in the history of an order, as Postgres has it.</summary>
public sealed record HistoryRow(DateTime At, string What, string? Detail);

/// <summary>A row of the table orders.</summary>
public sealed record OrderRow(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, string Status, string? Reason,
    DateTime AcceptedAt, DateTime PlacedAt, DateTime? PayBy, DateTime? PaidAt, DateTime? ClosedAt);
