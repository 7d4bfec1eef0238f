using Dapper;
using Npgsql;

namespace FlashSale.Worker.Events;

/// <summary>A row of order_event: orders that changed to the same state in one transaction.</summary>
/// <param name="EventId">The row's position. The rows of one order have rising positions, and each was committed before
/// the next was made.</param>
/// <param name="Type">placed, paid or closed.</param>
/// <param name="At">When the orders changed, by the clock of Postgres.</param>
/// <param name="OrderIds">The orders, each once.</param>
public sealed record OrderEventRow(long EventId, string Type, DateTime At, Guid[] OrderIds);

/// <summary>The facts about an order that its events carry. Orders of load runs have no messages.</summary>
public sealed record OrderFacts(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, long Amount, string Currency, string Status, string? Reason,
    DateTime AcceptedAt, DateTime PlacedAt, DateTime? PayBy, DateTime? PaidAt, bool IsLoadRun);

/// <summary>Reads, marks and prunes order events in Postgres.</summary>
public sealed class OrderEventStore(NpgsqlDataSource postgres)
{
    // Only few rows are read at once, since one row may hold the order ids of a whole pack.
    private const int RowsRead = 200;
    private const int RowsPruned = 1_000;

    /// <summary>
    /// Reads the first rows that are not published, 200 at most. It goes by their mark, never by a position that was
    /// reached: a row with a lower position may be committed after one with a higher.
    /// </summary>
    public async Task<Queue<OrderEventRow>> UnpublishedAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var command = new NpgsqlCommand(
            "select event_id, type, at, order_ids from order_event where published_at is null order by event_id limit $1", connection);
        command.Parameters.AddWithValue(RowsRead);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        Queue<OrderEventRow> rows = new();
        while (await reader.ReadAsync(cancellation))
            rows.Enqueue(new OrderEventRow(reader.GetInt64(0), reader.GetString(1), reader.GetDateTime(2), await reader.GetFieldValueAsync<Guid[]>(3, cancellation)));
        return rows;
    }

    /// <summary>Reads the orders with these ids. The result lacks orders that do not exist.</summary>
    public async Task<Dictionary<Guid, OrderFacts>> FactsAsync(Guid[] orderIds, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var facts = await connection.QueryAsync<OrderFacts>(new CommandDefinition("""
            select o.order_id, o.sale_id, o.sku, o.user_id, o.quantity, o.amount, o.currency, o.status, o.reason, o.accepted_at, o.placed_at, o.pay_by, o.paid_at,
                   s.load_run as is_load_run
            from orders o join sale s using (sale_id) where o.order_id = any (@orderIds)
            """, new { orderIds }, cancellationToken: cancellation));
        return facts.ToDictionary(order => order.OrderId);
    }

    /// <summary>Marks rows as published. Rows that another publisher has marked meanwhile keep their time.</summary>
    public async Task MarkPublishedAsync(long[] eventIds, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync(new CommandDefinition(
            "update order_event set published_at = now() where event_id = any (@eventIds) and published_at is null", new { eventIds }, cancellationToken: cancellation));
    }

    /// <summary>
    /// Deletes up to 1,000 rows that were published more than <paramref name="keepDays"/> days ago. Rows are published
    /// about in the order of their positions. So the oldest are the first rows of the table, and the query needs no
    /// index on the time.
    /// </summary>
    /// <returns>Whether more such rows may be left.</returns>
    public async Task<bool> PruneAsync(int keepDays, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteAsync(new CommandDefinition("""
            delete from order_event where event_id in (
                select f.event_id from (select event_id, published_at from order_event order by event_id limit @RowsPruned) f
                where f.published_at < now() - make_interval(days => @keepDays))
            """, new { RowsPruned, keepDays }, cancellationToken: cancellation)) == RowsPruned;
    }

    /// <summary>The age of the oldest row that is not published. Null when all rows are published.</summary>
    public async Task<TimeSpan?> OldestAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return await connection.QuerySingleOrDefaultAsync<TimeSpan?>(new CommandDefinition(
            "select clock_timestamp() - at from order_event where published_at is null order by event_id limit 1", cancellationToken: cancellation));
    }
}
