using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>The account of one item, in units.</summary>
/// <param name="Sku">SKU of the item.</param>
/// <param name="Stock">All units of the item, sold or not (Postgres).</param>
/// <param name="Remaining">Units for sale (Redis).</param>
/// <param name="InFlight">
/// Units on their way between the stores: accepted and not in Postgres yet, or given back and not in Redis yet.
/// </param>
/// <param name="Live">Sold units, which are those of orders that wait for payment or are paid (Postgres).</param>
public sealed record ItemLedger(string Sku, long Stock, long Remaining, long InFlight, long Live)
{
    /// <summary>
    /// 0 when every unit is accounted for exactly once. Positive when units are missing, negative when there are too
    /// many.
    /// </summary>
    public long Difference => Stock - Remaining - InFlight - Live;
}

/// <summary>The books of a sale at one moment.</summary>
/// <param name="Balanced">True when no item has a difference.</param>
/// <param name="Items">One account per item, in the sequence of item numbers.</param>
/// <param name="LastOutboxId">The last id that the sale's outbox ever gave. 0-0 if it never gave one.</param>
/// <param name="Returned">
/// The number of returns and stock changes that Redis has applied or refused under this epoch.
/// </param>
public sealed record SaleLedger(bool Balanced, IReadOnlyList<ItemLedger> Items, string LastOutboxId, long Returned);

/// <summary>
/// Reads the books of one moment while the sale runs. Under the sale's exclusive lock nothing changes in Postgres, and
/// one script reads Redis. An order that is committed but not settled yet is in both stores and counts once. Units that
/// were given back and have not reached Redis are in neither store and count as in flight.
/// </summary>
public sealed class LedgerReader(NpgsqlDataSource postgres, RedisConnection redis)
{
    private const int OrdersPerLook = 5_000;
    private const int ReturnsPerLook = 1_000;

    // LookScript takes about half a microsecond per order id, and blocks Redis meanwhile.
    private const int MostUnsettled = 200_000;

    private static readonly RedisScript LookScript = new("Ledger.look.lua");

    /// <summary>
    /// Reads the books. Null when no sale has this id. The books of an archived sale are closed and come from Postgres
    /// alone.
    /// </summary>
    /// <exception cref="PostgresException">55P03: another transaction holds the sale's lock. Call again.</exception>
    public async Task<SaleLedger?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var sale = await connection.QuerySingleOrDefaultAsync<(int Number, string Status)?>("select number, status from sale where sale_id = @saleId", new { saleId });
        if (sale is not { } found) return null;
        if (found.Status == "archived") return await ReadClosedAsync(connection, saleId);
        // Every transaction that would change the sale waits behind this one, so it must not wait long.
        await connection.ExecuteAsync("set local lock_timeout = '2s'");
        await SaleLock.TakeAsync(connection, found.Number);
        // The sale may have been archived meanwhile. Then it has left Redis.
        var isArchived = await connection.ExecuteScalarAsync<bool>("select status = 'archived' from sale where sale_id = @saleId", new { saleId });
        return isArchived ? await ReadClosedAsync(connection, saleId) : await ReadLockedAsync(connection, saleId);
    }

    /// <summary>Counts the orders that Redis holds and has not settled.</summary>
    public Task<long> InFlightAsync(string saleId) => redis.CallAsync(database => database.HashLengthAsync(new SaleKeys(saleId).Inflight));

    /// <summary>Reads the books of a sale that is not archived. The caller holds the sale's exclusive lock.</summary>
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

    // A sale is archived only with books that balance. From then on every unit that is not sold remains.
    private static async Task<SaleLedger> ReadClosedAsync(NpgsqlConnection connection, string saleId) =>
        new(true, [.. (await ItemsAsync(connection, saleId)).Select(row => new ItemLedger(row.Sku, row.Stock, row.Stock - row.Sold, 0, row.Sold))], "0-0", 0);

    private static Task<IEnumerable<(string Sku, long Stock, long Sold, bool Loaded)>> ItemsAsync(NpgsqlConnection connection, string saleId) =>
        connection.QueryAsync<(string Sku, long Stock, long Sold, bool Loaded)>("""
            select i.sku, i.stock::bigint, i.sold::bigint, s.epoch > 0
            from sale_item i join sale s using (sale_id) where i.sale_id = @saleId order by i.item_no
            """, new { saleId });

    // Finds the orders that both stores hold. HSCAN reads Redis page by page, and purchases run between the pages. But
    // Postgres stores no new order under the lock, and an order that is settled meanwhile never comes back. So this
    // result includes every order that is in both stores when the script looks.
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
            // The units of a rejected order stay in flight until it is settled. An order rejected as sold out is
            // different: its units never existed, so they must not count as in flight.
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

    // Returns the units per SKU that Postgres has given back and Redis has not taken. Redis may already know a pending
    // return: a worker applied it and died before its commit.
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
