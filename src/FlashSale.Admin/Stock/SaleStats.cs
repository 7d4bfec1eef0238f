using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admin.Stock;

/// <summary>The figures of a sale. Those of the outbox are entries and seconds, all others are units.</summary>
/// <param name="Items">The figures of the items, by item number.</param>
/// <param name="OutboxLength">Entries that wait for Postgres. An entry holds the reservations of one call.</param>
/// <param name="OutboxAgeSeconds">Age of the oldest entry. 0 when the outbox is empty.</param>
public sealed record StatsPage(IReadOnlyList<ItemStats> Items, long OutboxLength, double OutboxAgeSeconds);

/// <summary>The figures of an item, in units.</summary>
/// <param name="Sku">The item.</param>
/// <param name="Stock">All units, sold or not.</param>
/// <param name="Remaining">Units for sale.</param>
/// <param name="Accepted">Units of all orders ever accepted: persisted and in flight.</param>
/// <param name="Persisted">Units of the orders in Postgres, of any status.</param>
/// <param name="PendingPayment">Those of the persisted units that wait for payment.</param>
/// <param name="Paid">Those that are paid.</param>
/// <param name="Cancelled">Those that were cancelled.</param>
/// <param name="Expired">Those that were not paid in time.</param>
/// <param name="Rejected">Those that Postgres refused.</param>
/// <param name="Refunded">Those that were paid back.</param>
public sealed record ItemStats(
    string Sku, long Stock, long Remaining, long Accepted, long Persisted, long PendingPayment, long Paid, long Cancelled, long Expired, long Rejected, long Refunded);

/// <summary>
/// Reads the figures of a sale from counters and without a lock, so that they cost the same however many orders there
/// are. Postgres is read first, then Redis. So in the middle of a rush the figures may differ by the orders that settle
/// in between. The ledger is the exact account.
/// </summary>
public sealed class SaleStats(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales)
{
    /// <summary>Reads the figures.</summary>
    /// <returns>Whether there is such a sale, and its figures. They are null where Redis does not hold the sale under
    /// the epoch of Postgres.</returns>
    public async Task<(bool Found, StatsPage? Page)> ReadAsync(string saleId, CancellationToken cancellation)
    {
        if (await sales.ReadAsync(saleId, cancellation) is not { } sale) return (false, null);
        var rows = await ReadPostgresAsync(saleId, cancellation);
        // The remaining units of an archived sale are no longer in Redis. They are all units that are not sold.
        if (sale.Status is SaleStatus.Archived) return (true, new StatsPage([.. rows.Select(row => row.With(row.Stock - row.PendingPayment - row.Paid, 0))], 0, 0));
        // Redis has nothing of a draft.
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

    // All commands go out together, so the answers belong to one moment, except for other commands that Redis runs in
    // between.
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
