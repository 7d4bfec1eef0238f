using System.Buffers.Binary;
using System.Text;
using Dapper;
using Npgsql;

namespace FlashSale.LoadTests.Verdicts;

public sealed record ItemRow(string Sku, int Stock, int Sold, int PerUserLimit);

public sealed record OrderRow(Guid OrderId, string Sku, string UserId, string Key, int Quantity, string Status, bool IsPaid, bool IsClosed, long Payments, long Refunds, long Returns)
{
    public bool IsLive => Status is "pending_payment" or "paid";
}

public sealed record QuotaRow(string UserId, string Sku, int Units, int UnitLimit);

public sealed record InflightRow(Guid OrderId, string Sku, int Quantity);

/// <summary>
/// All data of the two stores about a sale, read with plain commands. No code of the product takes part.
/// </summary>
public sealed record BooksView(
    IReadOnlyList<ItemRow> Items, IReadOnlyList<OrderRow> Orders, IReadOnlyList<QuotaRow> Quotas, int? SaleLimit, IReadOnlyList<Guid> DeadLetters,
    IReadOnlyDictionary<string, long> Remaining, IReadOnlyDictionary<string, long> InflightUnits, IReadOnlyList<InflightRow> Inflight, long OutboxLength, long PendingReturns)
{
    // Reading a million orders takes seconds.
    private const int TimeoutSeconds = 300;

    /// <summary>
    /// Whether nothing is on its way any more. Orders that wait for an operator as dead letters do not move, so they do
    /// not count.
    /// </summary>
    public bool IsAtRest => OutboxLength == 0 && PendingReturns == 0 && Inflight.All(order => DeadLetters.Contains(order.OrderId));

    /// <summary>Returns the beginning of a sale's Redis keys.</summary>
    public static string RedisPrefix(string saleId) => $"fs:{{{saleId}}}:";

    /// <summary>Reads all data of a sale.</summary>
    public static async Task<BooksView> ReadAsync(NpgsqlConnection connection, RedisClient redis, string saleId)
    {
        var by = new { id = saleId };
        var prefix = RedisPrefix(saleId);
        // A return that is applied while the stores are read must count as pending: Redis may have been read before it.
        var returns = await PendingReturnsAsync(connection, saleId);
        var items = await connection.QueryAsync<ItemRow>("select sku, stock, sold, per_user_limit as PerUserLimit from sale_item where sale_id = @id", by);
        var quotas = await connection.QueryAsync<QuotaRow>("select user_id as UserId, sku, units - kept as Units, unit_limit as UnitLimit from user_quota where sale_id = @id", by, commandTimeout: TimeoutSeconds);
        var limit = await connection.ExecuteScalarAsync<int?>("select per_user_limit from sale where sale_id = @id", by);
        return new BooksView(
            items.AsList(), await OrdersAsync(connection, saleId), quotas.AsList(), limit, await DeadLettersAsync(connection, saleId),
            await redis.NumbersAsync(prefix + "stock"), await redis.NumbersAsync(prefix + "inflight_units"), await InflightAsync(redis, saleId),
            await redis.NumberAsync("XLEN", prefix + "outbox"), Math.Max(returns, await PendingReturnsAsync(connection, saleId)));
    }

    /// <summary>Returns the orders that wait for an operator.</summary>
    public static async Task<IReadOnlyList<Guid>> DeadLettersAsync(NpgsqlConnection connection, string saleId) =>
        (await connection.QueryAsync<Guid>("select order_id from dead_letter where sale_id = @saleId and state = 'open'", new { saleId })).AsList();

    /// <summary>Returns the number of returns of units that Redis has not seen yet.</summary>
    public static Task<long> PendingReturnsAsync(NpgsqlConnection connection, string saleId) =>
        connection.ExecuteScalarAsync<long>("select count(*) from stock_return where sale_id = @saleId and state = 'pending'", new { saleId });

    /// <summary>Returns the reservations that Redis holds as not settled.</summary>
    public static async Task<IReadOnlyList<InflightRow>> InflightAsync(RedisClient redis, string saleId) =>
        [.. (await redis.HashAsync(RedisPrefix(saleId) + "inflight")).Select(record => ReadInflight(record.Field, record.Value))];

    // Few orders have payments or returns, and there may be a million orders. So each table is read once.
    private static async Task<IReadOnlyList<OrderRow>> OrdersAsync(NpgsqlConnection connection, string saleId)
    {
        // An order over 0 is paid without a payment, so it has no payment to refund.
        const string Free = "select order_id from orders where sale_id = @saleId and amount = 0 and";
        var payments = await CountsAsync(connection, saleId, $"""
            select order_id, count(*) from (
                select o.order_id from orders o join payment p using (order_id) where o.sale_id = @saleId and p.state = 'succeeded'
                union all {Free} paid_at is not null) p group by 1
            """);
        var refunds = await CountsAsync(connection, saleId, $"""
            select order_id, count(*) from (
                select o.order_id from orders o join refund r using (order_id) where o.sale_id = @saleId
                union all {Free} status = 'refunded') r group by 1
            """);
        // Units of a refunded order go back on sale, or they leave the stock.
        var returns = await CountsAsync(connection, saleId, """
            select order_id, count(*) from (
                select order_id from stock_return where order_id in (select order_id from orders where sale_id = @saleId)
                union all
                select o.order_id from stock_change c join orders o on c.sale_id = o.sale_id and c.idempotency_key = 'refund-' || o.order_id
                where c.sale_id = @saleId) r group by 1
            """);
        await using var command = new NpgsqlCommand(
            "select order_id, sku, user_id, idempotency_key, quantity, status, paid_at is not null, closed_at is not null from orders where sale_id = @saleId", connection) { CommandTimeout = TimeoutSeconds };
        command.Parameters.AddWithValue("saleId", saleId);
        await using var reader = await command.ExecuteReaderAsync();
        var orders = new List<OrderRow>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        while (await reader.ReadAsync())
        {
            var id = reader.GetGuid(0);
            orders.Add(new OrderRow(id, Shared(reader.GetString(1), names), reader.GetString(2), reader.GetString(3), reader.GetInt32(4), Shared(reader.GetString(5), names),
                reader.GetBoolean(6), reader.GetBoolean(7), payments.GetValueOrDefault(id), refunds.GetValueOrDefault(id), returns.GetValueOrDefault(id)));
        }
        return orders;
    }

    private static async Task<Dictionary<Guid, long>> CountsAsync(NpgsqlConnection connection, string saleId, string sql) =>
        (await connection.QueryAsync<(Guid OrderId, long Count)>(sql, new { saleId }, commandTimeout: TimeoutSeconds)).ToDictionary(row => row.OrderId, row => row.Count);

    private static string Shared(string text, HashSet<string> names)
    {
        if (names.TryGetValue(text, out var known)) return known;
        names.Add(text);
        return text;
    }

    // The value is acceptedAt (6 bytes), then the record. In the record the quantity is at 44, and the sku behind its
    // length at 57.
    private static InflightRow ReadInflight(byte[] orderId, byte[] value)
    {
        var record = value.AsSpan(6);
        return new InflightRow(new Guid(orderId, bigEndian: true), Encoding.ASCII.GetString(record.Slice(58, record[57])), BinaryPrimitives.ReadUInt16BigEndian(record[44..]));
    }
}
