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
    private const int OrdersPerLook = 5_000;
    private const int ReturnsPerLook = 1_000;

    // Asking for them in one script holds Redis for about half a microsecond each.
    private const int MostUnsettled = 200_000;

    private static readonly RedisScript LookScript = new("Ledger.look.lua");

    /// <summary>Reads the books; null when there is no such sale. Those of an archived sale are closed, and come from Postgres alone.</summary>
    /// <exception cref="PostgresException">55P03: the sale's lock is taken; call again.</exception>
    public async Task<SaleLedger?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var sale = await connection.QuerySingleOrDefaultAsync<(int Number, string Status)?>("select number, status from sale where sale_id = @saleId", new { saleId });
        if (sale is not { } found) return null;
        if (found.Status == "archived") return await ReadClosedAsync(connection, saleId);
        // Everything that would change the sale waits behind this: not for long.
        await connection.ExecuteAsync("set local lock_timeout = '2s'");
        await SaleLock.TakeAsync(connection, found.Number);
        // Archived meanwhile: it has left Redis.
        var isArchived = await connection.ExecuteScalarAsync<bool>("select status = 'archived' from sale where sale_id = @saleId", new { saleId });
        return isArchived ? await ReadClosedAsync(connection, saleId) : await ReadLockedAsync(connection, saleId);
    }

    /// <summary>How many orders Redis holds that are not settled.</summary>
    public Task<long> InFlightAsync(string saleId) => redis.CallAsync(database => database.HashLengthAsync(new SaleKeys(saleId).Inflight));

    /// <summary>Reads the books; the caller holds the sale's exclusive lock.</summary>
    internal async Task<SaleLedger> ReadLockedAsync(NpgsqlConnection connection, string saleId)
    {
        var keys = new SaleKeys(saleId);
        var stored = await StoredInFlightAsync(connection, keys);
        var look = (RedisResult[])(await LookScript.CallLongAsync(redis, [keys.Stock, keys.InflightUnits, keys.Inflight, keys.Outbox, keys.Returned],
            [.. stored.Keys.Select(id => (RedisValue)id.ToByteArray(bigEndian: true))]))!;
        var remaining = Units(look[0]);
        var inFlight = Units(look[1]);
        var both = ((byte[][])look[2]!).Select(id => stored[new Guid(id, bigEndian: true)])
            .GroupBy(order => order.Sku, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Sum(order => (long)order.Quantity), StringComparer.Ordinal);
        var returning = await ReturningAsync(connection, keys, saleId);
        var items = (await ItemsAsync(connection, saleId)).Select(row => new ItemLedger(row.Sku, row.Stock, row.Loaded ? remaining.GetValueOrDefault(row.Sku) : row.Stock,
            inFlight.GetValueOrDefault(row.Sku) - both.GetValueOrDefault(row.Sku) + returning.GetValueOrDefault(row.Sku), row.Sold)).ToList();
        return new SaleLedger(items.TrueForAll(item => item.Difference == 0), items, (string)look[3]!, (long)look[4]);
    }

    // A sale is archived only with books that balance: from then on every unit that nobody holds remains.
    private static async Task<SaleLedger> ReadClosedAsync(NpgsqlConnection connection, string saleId) =>
        new(true, [.. (await ItemsAsync(connection, saleId)).Select(row => new ItemLedger(row.Sku, row.Stock, row.Stock - row.Sold, 0, row.Sold))], "0-0", 0);

    private static Task<IEnumerable<(string Sku, long Stock, long Sold, bool Loaded)>> ItemsAsync(NpgsqlConnection connection, string saleId) =>
        connection.QueryAsync<(string Sku, long Stock, long Sold, bool Loaded)>("""
            select i.sku, i.stock::bigint, i.sold::bigint, s.epoch > 0
            from sale_item i join sale s using (sale_id) where i.sale_id = @saleId order by i.item_no
            """, new { saleId });

    // Orders that both stores hold. Redis is gone through page by page, and purchases run between the pages; but none of
    // theirs comes into Postgres under the lock, and an order that is settled meanwhile never comes back. So all that are
    // in both stores when the script looks are among these.
    private async Task<Dictionary<Guid, (string Sku, int Quantity)>> StoredInFlightAsync(NpgsqlConnection connection, SaleKeys keys)
    {
        var stored = new Dictionary<Guid, (string Sku, int Quantity)>();
        var cursor = "0";
        do
        {
            var page = (RedisResult[])(await redis.CallAsync(database => database.ExecuteAsync("HSCAN", keys.Inflight, cursor, "COUNT", OrdersPerLook)))!;
            cursor = (string)page[0]!;
            var ids = ((RedisResult[])page[1]!).Where((_, i) => i % 2 == 0).Select(id => new Guid((byte[])id!, bigEndian: true)).ToArray();
            if (ids.Length == 0) continue;
            // A rejected order's units are in flight until they are settled, unless there never were such units.
            var orders = await connection.QueryAsync<(Guid Id, string Sku, int Quantity)>("""
                select order_id, sku, quantity from orders where order_id = any (@ids) and (status <> 'rejected' or reason = 'sold_out')
                """, new { ids });
            foreach (var (id, sku, quantity) in orders) stored[id] = (sku, quantity);
            if (stored.Count > MostUnsettled)
                throw new RedisUnavailableException($"More than {MostUnsettled} orders are stored and not settled; the books are read when there are fewer.");
        }
        while (cursor != "0");
        return stored;
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
