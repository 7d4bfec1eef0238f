using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>The account of one item, in units.</summary>
/// <param name="Sku">The item.</param>
/// <param name="Stock">What there is, sold or not (Postgres).</param>
/// <param name="Remaining">For sale (Redis).</param>
/// <param name="InFlight">On their way: accepted and not in Postgres yet, or given back and not in Redis yet.</param>
/// <param name="Live">Sold: waiting for payment or paid (Postgres).</param>
public sealed record ItemLedger(string Sku, long Stock, long Remaining, long InFlight, long Live)
{
    /// <summary>0 when every unit is accounted for once.</summary>
    public long Difference => Stock - Remaining - InFlight - Live;
}

/// <summary>The books of a sale at one moment.</summary>
/// <param name="Balanced">Whether no item has a difference.</param>
/// <param name="Items">By item number.</param>
/// <param name="LastOutboxId">The last id that the sale's outbox ever gave; 0-0 when it gave none.</param>
/// <param name="Returned">How many returns and changes of stock Redis has applied or refused under this epoch.</param>
public sealed record SaleLedger(bool Balanced, IReadOnlyList<ItemLedger> Items, string LastOutboxId, long Returned);

/// <summary>
/// Reads the books at one moment, while the sale runs: under the sale's exclusive lock nothing changes in Postgres, and
/// Redis is read by one script. An order that is committed but not settled yet is in both and counts once; units that
/// were given back and have not reached Redis are in neither and count as in flight.
/// </summary>
public sealed class LedgerReader(NpgsqlDataSource postgres, RedisConnection redis)
{
    // Listing them holds Redis for about half a microsecond each.
    private const int MostInFlight = 50_000;
    private const int ReturnsPerLook = 1_000;

    private static readonly RedisScript LookScript = new("Ledger.look.lua");

    /// <summary>Reads the books; null when there is no such sale.</summary>
    /// <exception cref="PostgresException">55P03: the lock was not to be had in time.</exception>
    public async Task<SaleLedger?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var number = await connection.ExecuteScalarAsync<int?>("select number from sale where sale_id = @saleId", new { saleId });
        if (number is null) return null;
        await SaleLock.TakeAsync(connection, number.Value);
        return await ReadLockedAsync(connection, saleId);
    }

    /// <summary>Reads the books; the caller holds the sale's exclusive lock.</summary>
    internal async Task<SaleLedger> ReadLockedAsync(NpgsqlConnection connection, string saleId)
    {
        var keys = new SaleKeys(saleId);
        var look = (RedisResult[])(await LookScript.CallAsync(
            redis, [keys.Stock, keys.InflightUnits, keys.Inflight, keys.Outbox, keys.Returned], [MostInFlight], TimeSpan.FromSeconds(10)))!;
        if (look.Length == 1)
            throw new RedisUnavailableException($"{(long)look[0]} orders are in flight; the books are read when there are {MostInFlight} or fewer.");
        var remaining = Units(look[0]);
        var inFlight = Units(look[1]);
        var ids = ((byte[][])look[2]!).Select(id => new Guid(id, bigEndian: true)).ToArray();
        // A rejected order's units are in flight until they are settled, unless there never were such units.
        var both = ids.Length == 0 ? [] : (await connection.QueryAsync<(string Sku, long Units)>("""
            select sku, sum(quantity) from orders where order_id = any (@ids) and (status <> 'rejected' or reason = 'sold_out') group by sku
            """, new { ids })).ToDictionary(row => row.Sku, row => row.Units, StringComparer.Ordinal);
        var returning = await ReturningAsync(connection, keys, saleId);
        var rows = await connection.QueryAsync<(string Sku, long Stock, long Sold, bool Loaded)>("""
            select i.sku, i.stock::bigint, i.sold::bigint, s.epoch > 0
            from sale_item i join sale s using (sale_id) where i.sale_id = @saleId order by i.item_no
            """, new { saleId });
        var items = rows.Select(row => new ItemLedger(row.Sku, row.Stock, row.Loaded ? remaining.GetValueOrDefault(row.Sku) : row.Stock,
            inFlight.GetValueOrDefault(row.Sku) - both.GetValueOrDefault(row.Sku) + returning.GetValueOrDefault(row.Sku), row.Sold)).ToList();
        return new SaleLedger(items.TrueForAll(item => item.Difference == 0), items, (string)look[3]!, (long)look[4]);
    }

    // Units per sku that Postgres has given back and Redis has not taken. Of a pending return Redis may know already:
    // whoever applied it died before saying so.
    private async Task<Dictionary<string, long>> ReturningAsync(NpgsqlConnection connection, SaleKeys keys, string saleId)
    {
        var units = new Dictionary<string, long>(StringComparer.Ordinal);
        var pending = await connection.QueryAsync<(Guid OrderId, string Sku, int Quantity, long Epoch)>(
            "select order_id, sku, quantity, epoch from stock_return where sale_id = @saleId and state = 'pending'", new { saleId });
        foreach (var chunk in pending.Chunk(ReturnsPerLook))
        {
            var applied = await redis.CallAsync(database => database.HashGetAsync(keys.Returned, [.. chunk.Select(row => (RedisValue)StockReturns.FieldOf(row.OrderId))]));
            for (var i = 0; i < chunk.Length; i++)
            {
                if (applied[i] != chunk[i].Epoch) units[chunk[i].Sku] = units.GetValueOrDefault(chunk[i].Sku) + chunk[i].Quantity;
            }
        }
        return units;
    }

    private static Dictionary<string, long> Units(RedisResult fieldsAndValues)
    {
        var flat = (string[])fieldsAndValues!;
        var units = new Dictionary<string, long>(flat.Length / 2, StringComparer.Ordinal);
        for (var i = 0; i < flat.Length; i += 2) units[flat[i]] = long.Parse(flat[i + 1]);
        return units;
    }
}
