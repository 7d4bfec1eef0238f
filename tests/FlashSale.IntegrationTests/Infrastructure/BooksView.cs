using System.Buffers.Binary;
using System.Text;
using Dapper;
using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

public sealed record ItemRow(string Sku, int Stock, int Sold, int PerUserLimit);

public sealed record OrderRow(Guid OrderId, string Sku, string UserId, string Key, int Quantity, string Status, bool IsPaid, bool IsClosed, long Payments, long Refunds, long Returns)
{
    public bool IsLive => Status is "pending_payment" or "paid";
}

public sealed record QuotaRow(string UserId, string Sku, int Units, int UnitLimit);

public sealed record InflightRow(Guid OrderId, string Sku, int Quantity);

/// <summary>Everything the two stores say about a sale, read with plain commands; nothing of the product's code takes part.</summary>
public sealed record BooksView(
    IReadOnlyList<ItemRow> Items, IReadOnlyList<OrderRow> Orders, IReadOnlyList<QuotaRow> Quotas, int? SaleLimit, IReadOnlyList<Guid> DeadLetters,
    IReadOnlyDictionary<string, long> Remaining, IReadOnlyDictionary<string, long> InflightUnits, IReadOnlyList<InflightRow> Inflight, long OutboxLength, long PendingReturns)
{
    /// <summary>Nothing is on its way any more; what waits for an operator as a dead letter does not move.</summary>
    public bool IsAtRest => OutboxLength == 0 && PendingReturns == 0 && Inflight.All(order => DeadLetters.Contains(order.OrderId));

    public static async Task<BooksView> ReadAsync(NpgsqlConnection connection, RedisClient redis, Sale sale)
    {
        var by = new { id = sale.Id };
        var items = await connection.QueryAsync<ItemRow>("select sku, stock, sold, per_user_limit as PerUserLimit from sale_item where sale_id = @id", by);
        var orders = await connection.QueryAsync<OrderRow>(
            """
            select order_id as OrderId, sku, user_id as UserId, idempotency_key as Key, quantity, status, paid_at is not null as IsPaid, closed_at is not null as IsClosed,
                   (select count(*) from payment p where p.order_id = o.order_id and p.state = 'succeeded') as Payments,
                   (select count(*) from refund r where r.order_id = o.order_id) as Refunds,
                   (select count(*) from stock_return t where t.order_id = o.order_id) as Returns
            from orders o where sale_id = @id
            """, by);
        var quotas = await connection.QueryAsync<QuotaRow>("select user_id as UserId, sku, units, unit_limit as UnitLimit from user_quota where sale_id = @id", by);
        var limit = await connection.ExecuteScalarAsync<int?>("select per_user_limit from sale where sale_id = @id", by);
        var pending = await connection.ExecuteScalarAsync<long>("select count(*) from stock_return where sale_id = @id and state = 'pending'", by);
        var dead = await connection.QueryAsync<Guid>("select order_id from dead_letter where sale_id = @id and state = 'open'", by);
        return new BooksView(items.AsList(), orders.AsList(), quotas.AsList(), limit, dead.AsList(),
            await redis.NumbersAsync(sale.RedisPrefix + "stock"),
            await redis.NumbersAsync(sale.RedisPrefix + "inflight_units"),
            [.. (await redis.HashAsync(sale.RedisPrefix + "inflight")).Select(record => ReadInflight(record.Field, record.Value))],
            await redis.NumberAsync("XLEN", sale.RedisPrefix + "outbox"), pending);
    }

    // acceptedAt (6), then the record: quantity at 44, the sku behind its length at 57.
    private static InflightRow ReadInflight(byte[] orderId, byte[] value)
    {
        var record = value.AsSpan(6);
        return new InflightRow(new Guid(orderId, bigEndian: true), Encoding.ASCII.GetString(record.Slice(58, record[57])), BinaryPrimitives.ReadUInt16BigEndian(record[44..]));
    }
}
