using System.Buffers.Binary;
using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// Computes the state that Redis needs of a sale from Postgres, and writes it beside the present state. It streams the
/// orders, so a million of them take no more memory here than a few thousand.
/// </summary>
internal sealed class SaleShadow(RedisConnection redis, SaleKeys keys, long epoch, int buckets)
{
    private const int OrdersPerChunk = 20_000;

    private readonly Dictionary<long, List<HashEntry>> _facts = [];
    private readonly List<byte[]> _buyers = [];
    private long _buyersBytes;

    public int Buckets { get; } = buckets;

    /// <summary>Fills the shadow keys. The caller holds the sale's exclusive lock.</summary>
    public async Task FillAsync(NpgsqlConnection connection, PublishedSale sale, CancellationToken cancellation)
    {
        await ClearAsync();
        var numbers = sale.Items.ToDictionary(item => item.Sku, item => item.Number, StringComparer.Ordinal);
        // Rejected orders first: if one shares its key with a live order, the record of the live order overwrites it.
        await FillRejectedLettersAsync(connection, sale.SaleId, cancellation);
        foreach (var rejected in new[] { true, false }) await FillOrdersAsync(connection, sale.SaleId, numbers, rejected, cancellation);
        await FillCountsAsync(connection, sale, numbers, cancellation);
        var inFlight = await FillDeadLettersAsync(connection, sale);
        await FillStockAsync(connection, sale, inFlight);
    }

    // Record the epoch in the list first, so that the removal of old epochs finds these keys. There are leftovers if an
    // earlier load of this very epoch died.
    private async Task ClearAsync()
    {
        await redis.CallAsync(database => database.HashSetAsync(keys.Epochs, epoch, Buckets));
        // Facts need no removal, since this load overwrites them.
        await redis.UnlinkAsync(keys.OfEpoch(epoch, buckets: 0));
    }

    private async Task FillOrdersAsync(NpgsqlConnection connection, string saleId, Dictionary<string, int> numbers, bool rejected, CancellationToken cancellation)
    {
        var orders = connection.QueryUnbufferedAsync<OrderFact>($"""
            select order_id, user_id, idempotency_key, sku, quantity, (extract(epoch from accepted_at) * 1000)::bigint as accepted_at
            from orders where sale_id = @saleId and status {(rejected ? "=" : "<>")} 'rejected' order by order_id
            """, new { saleId });
        var count = 0;
        await foreach (var order in orders.WithCancellation(cancellation))
        {
            if (!numbers.TryGetValue(order.Sku, out var number)) continue;
            var user = Fingerprints.OfUser(order.UserId);
            Add(user, KeyOf(order.UserId, order.IdempotencyKey), Record(order.OrderId, order.AcceptedAt, number, order.Quantity));
            _buyers.Add(Bytes(user));
            if (++count % OrdersPerChunk == 0) await FlushAsync();
        }
        await FlushAsync();
    }

    private async Task FillCountsAsync(NpgsqlConnection connection, PublishedSale sale, Dictionary<string, int> numbers, CancellationToken cancellation)
    {
        // Postgres keeps a count for the whole sale (sku '') only where the sale has a limit of its own.
        var quotas = connection.QueryUnbufferedAsync<(string UserId, string Sku, int Units)>(
            "select user_id, sku, units from user_quota where sale_id = @SaleId and units > 0", new { sale.SaleId });
        var count = 0;
        await foreach (var (userId, sku, units) in quotas.WithCancellation(cancellation))
        {
            var user = Fingerprints.OfUser(userId);
            if (sku.Length == 0) Add(user, Bytes(user), units);
            else if (numbers.TryGetValue(sku, out var number)) Add(user, ItemOf(user, number), units);
            if (++count % OrdersPerChunk == 0) await FlushAsync();
        }
        await FlushAsync();
    }

    // The keys of rejected dead letters go on replaying their 202. They hold no units or counts.
    private async Task FillRejectedLettersAsync(NpgsqlConnection connection, string saleId, CancellationToken cancellation)
    {
        var letters = await connection.QueryAsync<(byte[] Record, DateTime AcceptedAt)>(new CommandDefinition("""
            select record, accepted_at from dead_letter
            where sale_id = @saleId and state = 'rejected' and order_id <> '00000000-0000-0000-0000-000000000000'
            """, new { saleId }, cancellationToken: cancellation));
        foreach (var (record, acceptedAt) in letters)
        {
            var at = new DateTimeOffset(acceptedAt).ToUnixTimeMilliseconds();
            var (reservation, _) = ReservationCodec.Decode(record, at);
            var user = BinaryPrimitives.ReadUInt64BigEndian(record.AsSpan(32));
            Add(user, record[16..32], Record(reservation.OrderId, at, reservation.ItemNumber, reservation.Quantity));
            _buyers.Add(Bytes(user));
        }
        await FlushAsync();
    }

    // Reservations that wait for an operator hold their units and counts. Returns the units per SKU.
    private async Task<Dictionary<string, long>> FillDeadLettersAsync(NpgsqlConnection connection, PublishedSale sale)
    {
        var inFlight = new Dictionary<string, long>(StringComparer.Ordinal);
        var letters = await connection.QueryAsync<(byte[] Record, DateTime AcceptedAt)>("""
            select d.record, d.accepted_at from dead_letter d
            where d.sale_id = @SaleId and d.state = 'open' and d.order_id <> '00000000-0000-0000-0000-000000000000'
              and not exists (select 1 from orders o where o.order_id = d.order_id)
            """, new { sale.SaleId });
        foreach (var (record, acceptedAt) in letters)
        {
            var at = new DateTimeOffset(acceptedAt).ToUnixTimeMilliseconds();
            var (reservation, length) = ReservationCodec.Decode(record, at);
            var user = BinaryPrimitives.ReadUInt64BigEndian(record.AsSpan(32));
            inFlight[reservation.Sku] = inFlight.GetValueOrDefault(reservation.Sku) + reservation.Quantity;
            await redis.CallAsync(database => database.HashSetAsync(Shadow("inflight"), record[..16], (byte[])[.. Time(at), .. record[..length]]));
            await redis.CallAsync(database => database.HashSetAsync(Facts(user), record[16..32], Record(reservation.OrderId, at, reservation.ItemNumber, reservation.Quantity)));
            if (sale.PerUserLimit is not null) await redis.CallAsync(database => database.HashIncrementAsync(Facts(user), record[32..40], reservation.Quantity));
            await redis.CallAsync(database => database.HashIncrementAsync(Facts(user), record[32..44], reservation.Quantity));
            _buyers.Add(Bytes(user));
        }
        await FlushAsync();
        if (inFlight.Count > 0)
            await redis.CallAsync(database => Done(database.HashSetAsync(Shadow("inflight_units"), [.. inFlight.Select(pair => new HashEntry(pair.Key, pair.Value))])));
        return inFlight;
    }

    private async Task FillStockAsync(NpgsqlConnection connection, PublishedSale sale, Dictionary<string, long> inFlight)
    {
        var sold = (await connection.QueryAsync<(string Sku, int Sold, int Stock)>("select sku, sold, stock from sale_item where sale_id = @SaleId", new { sale.SaleId }))
            .ToDictionary(row => row.Sku, StringComparer.Ordinal);
        foreach (var chunk in sale.Items.Chunk(OrdersPerChunk))
        {
            var stock = chunk.Select(item => new HashEntry(item.Sku, Math.Max(0, sold[item.Sku].Stock - sold[item.Sku].Sold - inFlight.GetValueOrDefault(item.Sku)))).ToArray();
            var limits = chunk.Select(item => new HashEntry(item.Sku, item.PerUserLimit)).ToArray();
            await redis.CallAsync(database => Done(database.HashSetAsync(Shadow("stock"), stock)));
            await redis.CallAsync(database => Done(database.HashSetAsync(Shadow("limit"), limits)));
        }
    }

    private void Add(ulong user, byte[] field, RedisValue value)
    {
        var bucket = (long)((user >> 32) % (ulong)Buckets);
        if (!_facts.TryGetValue(bucket, out var facts)) _facts[bucket] = facts = [];
        facts.Add(new HashEntry(field, value));
    }

    // Sends all calls of a chunk at once and waits for them together.
    private async Task FlushAsync()
    {
        await redis.CallAsync(async database =>
        {
            // Record the epoch again: another loader may have taken this one for dead and removed its entry.
            var calls = new List<Task>(_facts.Count + 2) { database.HashSetAsync(keys.Epochs, epoch, Buckets) };
            foreach (var (bucket, facts) in _facts) calls.Add(database.HashSetAsync(keys.Facts(epoch, bucket), [.. facts]));
            if (_buyers.Count > 0 && _buyersBytes < SaleKeys.MaxBuyersBytes)
                calls.Add(database.StringAppendAsync(keys.Buyers(epoch), _buyers.SelectMany(hash => hash).ToArray()));
            await Task.WhenAll(calls);
            return true;
        }, TimeSpan.FromSeconds(30));
        _buyersBytes += 8L * _buyers.Count;
        _facts.Clear();
        _buyers.Clear();
    }

    private RedisKey Shadow(string name) => keys.Shadow(epoch, name);

    private RedisKey Facts(ulong user) => keys.Facts(epoch, (long)((user >> 32) % (ulong)Buckets));

    private static async Task<bool> Done(Task call)
    {
        await call;
        return true;
    }

    private static byte[] KeyOf(string userId, string key)
    {
        var field = new byte[Fingerprints.KeySize];
        Fingerprints.OfKey(userId, key, field);
        return field;
    }

    private static byte[] Bytes(ulong user)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, user);
        return bytes;
    }

    private static byte[] ItemOf(ulong user, int number)
    {
        var bytes = new byte[12];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, user);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(8), number);
        return bytes;
    }

    private static byte[] Time(long milliseconds)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, milliseconds);
        return bytes[2..];
    }

    // The layout is that of reserve.lua: order id, acceptedAt, item, quantity.
    private static byte[] Record(Guid orderId, long acceptedAt, int item, int quantity)
    {
        var record = new byte[28];
        orderId.TryWriteBytes(record, bigEndian: true, out _);
        Time(acceptedAt).CopyTo(record.AsSpan(16));
        BinaryPrimitives.WriteInt32BigEndian(record.AsSpan(22), item);
        BinaryPrimitives.WriteUInt16BigEndian(record.AsSpan(26), (ushort)quantity);
        return record;
    }

    private sealed record OrderFact(Guid OrderId, string UserId, string IdempotencyKey, string Sku, int Quantity, long AcceptedAt);
}
