using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Reads orders where they are: in flight in Redis, then in Postgres. In this order: an order moves from Redis to
/// Postgres, committed before it leaves, so one that is missing in both at these moments does not exist.
/// </summary>
public sealed class OrderReader(NpgsqlDataSource postgres, RedisConnection redis)
{
    private const string Columns =
        "order_id, sale_id, sku, user_id, quantity, amount, currency, status, reason, accepted_at, placed_at, pay_by, paid_at, closed_at";

    /// <summary>Finds an order; null when both stores answered and neither has it.</summary>
    /// <exception cref="RedisUnavailableException">Redis is away, and Postgres does not have the order.</exception>
    /// <exception cref="NpgsqlException">Postgres is away, and Redis does not have the order.</exception>
    public async Task<Order?> FindAsync(Guid orderId, string saleId, CancellationToken cancellation)
    {
        Exception? redisAway = null;
        try
        {
            if (await FindInFlightAsync(orderId, saleId) is { } inFlight) return inFlight;
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException)
        {
            redisAway = e;
        }
        var stored = await FindStoredAsync(orderId, cancellation);
        if (stored is null && redisAway is not null) throw new RedisUnavailableException("The order may be in flight.", redisAway);
        return stored;
    }

    /// <summary>A user's stored orders, newest first.</summary>
    /// <param name="userId">Whose.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="before">Only those older than this one.</param>
    /// <param name="cancellation">Ends the query.</param>
    public async Task<IReadOnlyList<Order>> OfUserAsync(string userId, int limit, Guid? before, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // Two halves, each with its own partial index.
        var rows = await connection.QueryAsync<OrderRow>(new CommandDefinition($"""
            (select {Columns} from orders where user_id = @userId and status <> 'rejected' and (@before::uuid is null or order_id < @before)
             order by order_id desc limit @limit)
            union all
            (select {Columns} from orders where user_id = @userId and status = 'rejected' and (@before::uuid is null or order_id < @before)
             order by order_id desc limit @limit)
            order by order_id desc limit @limit
            """, new { userId, limit, before }, cancellationToken: cancellation));
        return [.. rows.Select(row => row.ToOrder())];
    }

    private async Task<Order?> FindInFlightAsync(Guid orderId, string saleId)
    {
        var keys = new SaleKeys(saleId);
        var record = (byte[]?)await redis.CallAsync(database => database.HashGetAsync(keys.Inflight, orderId.ToByteArray(bigEndian: true)));
        if (record is null) return null;
        var acceptedAt = 0L;
        foreach (var b in record.AsSpan(0, 6)) acceptedAt = acceptedAt << 8 | b;
        var (reservation, _) = ReservationCodec.Decode(record.AsSpan(6), acceptedAt);
        return new Order(orderId, saleId, reservation.Sku, reservation.UserId, reservation.Quantity, reservation.Amount, reservation.Currency,
            OrderStatus.Accepted, null, DateTimeOffset.FromUnixTimeMilliseconds(acceptedAt), null, null, null, null);
    }

    /// <summary>Finds an order in Postgres only; null when it is not there, or not yet.</summary>
    public async Task<Order?> FindStoredAsync(Guid orderId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var row = await connection.QuerySingleOrDefaultAsync<OrderRow>(
            new CommandDefinition($"select {Columns} from orders where order_id = @orderId", new { orderId }, cancellationToken: cancellation));
        return row?.ToOrder();
    }

    private sealed record OrderRow(
        Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, string Status, string? Reason,
        DateTime AcceptedAt, DateTime PlacedAt, DateTime? PayBy, DateTime? PaidAt, DateTime? ClosedAt)
    {
        public Order ToOrder() => new(OrderId, SaleId, Sku, UserId, Quantity, Amount, Currency, OrderStatuses.Parse(Status), Reason,
            new(AcceptedAt), new(PlacedAt), At(PayBy), At(PaidAt), At(ClosedAt));

        private static DateTimeOffset? At(DateTime? time) => time is { } at ? new DateTimeOffset(at) : null;
    }
}
