using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admin.Stock;

/// <summary>How a sale goes. Everything but the outbox is in units.</summary>
/// <param name="Items">By item number.</param>
/// <param name="OutboxLength">Entries that wait for Postgres; one holds the reservations of one call.</param>
/// <param name="OutboxAgeSeconds">Age of the oldest of them; 0 when there is none.</param>
public sealed record StatsPage(IReadOnlyList<ItemStats> Items, long OutboxLength, double OutboxAgeSeconds);

/// <summary>How an item goes, in units.</summary>
/// <param name="Sku">The item.</param>
/// <param name="Stock">Units there are, sold or not.</param>
/// <param name="Remaining">Units for sale.</param>
/// <param name="Accepted">Units of all orders ever accepted: persisted and in flight.</param>
/// <param name="Persisted">Units of the orders in Postgres, of whatever status.</param>
/// <param name="PendingPayment">Of these, waiting for payment.</param>
/// <param name="Paid">Of these, paid.</param>
/// <param name="Cancelled">Of these, cancelled.</param>
/// <param name="Expired">Of these, not paid in time.</param>
/// <param name="Rejected">Of these, refused by Postgres.</param>
/// <param name="Refunded">Of these, paid back.</param>
public sealed record ItemStats(
    string Sku, long Stock, long Remaining, long Accepted, long Persisted, long PendingPayment, long Paid, long Cancelled, long Expired, long Rejected, long Refunded);

/// <summary>
/// Reads the figures of a sale from counters and without a lock, so that they cost the same however many orders there are. Postgres
/// and Redis are looked at one after the other: in the middle of a rush they may be apart by what settles in between. The ledger is
/// the exact account.
/// </summary>
public sealed class SaleStats(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales)
{
    /// <summary>Reads them.</summary>
    /// <returns>Whether there is such a sale, and its figures; null where Redis does not hold it under Postgres' epoch.</returns>
    public async Task<(bool Found, StatsPage? Page)> ReadAsync(string saleId, CancellationToken cancellation)
    {
        if (await sales.ReadAsync(saleId, cancellation) is not { } sale) return (false, null);
        var rows = await ReadPostgresAsync(saleId, cancellation);
        // What an archived sale had left is no longer in Redis, and is all that is not sold.
        if (sale.Status is SaleStatus.Archived) return (true, new StatsPage([.. rows.Select(row => row.With(row.Stock - row.PendingPayment - row.Paid, 0))], 0, 0));
        // Nothing of a draft is in Redis.
        if (sale.Epoch == 0) return (true, new StatsPage([.. rows.Select(row => row.With(0, 0))], 0, 0));
        var look = await ReadRedisAsync(new SaleKeys(saleId));
        if (look.Epoch != sale.Epoch) return (true, null);
        return (true, new StatsPage([.. rows.Select(row => row.With(Units(look.Stock, row.Sku), Units(look.InFlight, row.Sku)))], look.OutboxLength, look.OutboxAge));
    }

    private static long Units(Dictionary<string, long> units, string sku) => units.GetValueOrDefault(sku);

    private async Task<IReadOnlyList<ItemRow>> ReadPostgresAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var rows = await connection.QueryAsync<ItemRow>(new CommandDefinition("""
            select i.sku, i.stock::bigint as stock,
                   coalesce(f.pending_payment + f.paid + f.cancelled + f.expired + f.rejected + f.refunded, 0)::bigint as persisted,
                   coalesce(f.pending_payment, 0)::bigint as pending_payment, coalesce(f.paid, 0)::bigint as paid,
                   coalesce(f.cancelled, 0)::bigint as cancelled, coalesce(f.expired, 0)::bigint as expired,
                   coalesce(f.rejected, 0)::bigint as rejected, coalesce(f.refunded, 0)::bigint as refunded
            from sale_item i left join (
                select sku, sum(pending_payment) as pending_payment, sum(paid) as paid, sum(cancelled) as cancelled, sum(expired) as expired,
                       sum(rejected) as rejected, sum(refunded) as refunded
                from item_figures where sale_id = @saleId group by sku) f on f.sku = i.sku
            where i.sale_id = @saleId order by i.item_no
            """, new { saleId }, cancellationToken: cancellation));
        return rows.AsList();
    }

    // All in one flight: the answers belong to one moment, but for what Redis does between two commands.
    private async Task<(long? Epoch, Dictionary<string, long> Stock, Dictionary<string, long> InFlight, long OutboxLength, double OutboxAge)> ReadRedisAsync(SaleKeys keys)
    {
        var (epoch, stock, inFlight, length, first, time) = await redis.CallAsync(async database =>
        {
            var epoch = database.HashGetAsync(keys.Sale, "epoch");
            var stock = database.HashGetAllAsync(keys.Stock);
            var inFlight = database.HashGetAllAsync(keys.InflightUnits);
            var length = database.StreamLengthAsync(keys.Outbox);
            var first = database.StreamRangeAsync(keys.Outbox, count: 1);
            var time = database.ExecuteAsync("TIME");
            return (await epoch, await stock, await inFlight, await length, await first, (RedisResult[])(await time)!);
        });
        var now = (long)time[0] * 1000 + (long)time[1] / 1000;
        var age = first.Length == 0 ? 0 : Math.Max(0, now - StreamIds.FirstOf(first[0].Id)) / 1000.0;
        return ((long?)epoch, ToUnits(stock), ToUnits(inFlight), length, age);
    }

    private static Dictionary<string, long> ToUnits(HashEntry[] entries) =>
        entries.ToDictionary(entry => (string)entry.Name!, entry => (long)entry.Value, StringComparer.Ordinal);

    private sealed record ItemRow(
        string Sku, long Stock, long Persisted, long PendingPayment, long Paid, long Cancelled, long Expired, long Rejected, long Refunded)
    {
        public ItemStats With(long remaining, long inFlight) =>
            new(Sku, Stock, remaining, Persisted + inFlight, Persisted, PendingPayment, Paid, Cancelled, Expired, Rejected, Refunded);
    }
}
