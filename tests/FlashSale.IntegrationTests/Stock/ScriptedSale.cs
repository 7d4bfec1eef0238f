using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Contracts;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Microsoft.Extensions.Logging.Abstractions;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>A Redis and one connection to it, for tests of the scripts alone.</summary>
public sealed class ScriptFixture : IAsyncLifetime
{
    public RedisServer Server { get; private set; } = null!;

    public RedisConnection Redis { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Server = await RedisServer.StartNewAsync();
        Redis = await RedisConnection.ConnectAsync(
            new RedisOptions { Endpoint = Server.Endpoint, DeadlineMilliseconds = 10_000 }, NullLogger<RedisConnection>.Instance);
        await Eventually.TrueAsync("Redis is healthy", TimeSpan.FromSeconds(10), () => Task.FromResult(Redis.IsHealthy));
    }

    public async ValueTask DisposeAsync()
    {
        await Redis.DisposeAsync();
        await Server.DisposeAsync();
    }
}

/// <summary>
/// A sale in Redis alone. Tests drive it through the callers of reserve.lua and settle.lua, and by release.lua itself.
/// </summary>
public sealed class ScriptedSale
{
    private const int SaleNumber = 7;
    private const int Buckets = 3;
    private const int Price = 100;
    private const int BurntIdSize = 10;

    // The product's caller of release.lua reads the returns from Postgres, which these tests do without.
    private static readonly RedisScript Release = new("Stock.units.lua", "Stock.release.lua");

    private static readonly RedisScript Settle = new("Stock.units.lua", "Stock.settle.lua");

    // The epoch changes in one step, so that concurrent buyers see no state in between.
    private const string Raise = """
        redis.call('DEL', KEYS[2], KEYS[3])
        for i = 4, #KEYS, 2 do
            if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('RENAME', KEYS[i], KEYS[i + 1]) end
        end
        return redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
        """;

    private static int _sales;

    private readonly RedisConnection _redis;
    private readonly ReserveScript _reserve;
    private readonly SettleScript _settle;
    private readonly ConcurrentDictionary<Guid, (byte[] Record, long AcceptedAt)> _accepted = [];
    private long _epoch = 1;

    private ScriptedSale(RedisConnection redis)
    {
        _redis = redis;
        _reserve = new ReserveScript(redis);
        _settle = new SettleScript(redis);
        SaleId = $"t{Interlocked.Increment(ref _sales)}";
        Keys = new SaleKeys(SaleId);
    }

    public string SaleId { get; }

    public SaleKeys Keys { get; }

    public long Epoch => Interlocked.Read(ref _epoch);

    public static async Task<ScriptedSale> StartAsync(RedisConnection redis, IReadOnlyList<int> stock, IReadOnlyList<int> limits, int saleLimit, bool requiresTicket = false)
    {
        var sale = new ScriptedSale(redis);
        await redis.CallAsync(async database =>
        {
            await database.HashSetAsync(sale.Keys.Stock, [.. stock.Select((units, item) => new HashEntry(Sku(item), units))]);
            await database.HashSetAsync(sale.Keys.Limit, [.. limits.Select((units, item) => new HashEntry(Sku(item), units))]);
            await database.HashSetAsync(sale.Keys.Sale,
            [
                new("epoch", 1), new("status", "live"), new("opens", 1), new("closes", long.MaxValue / 4), new("limit", saleLimit),
                new("buckets", Buckets), new("version", 1), new("tickets", requiresTicket ? 1 : 0), new("admission", 0),
                new("left", stock.Count(units => units > 0)),
            ]);
            return true;
        });
        await sale.VerifyAsync(true);
        return sale;
    }

    public static string Sku(int item) => $"sku-{item}";

    public static string UserId(int user) => $"user-{user}";

    public static byte[] Encode(Wish wish, Guid orderId) => ReservationCodec.Encode(
        orderId, Fingerprints.OfUser(UserId(wish.User)), wish.Item + 1, Sku(wish.Item), UserId(wish.User), $"key-{wish.Key}", wish.Quantity, Price * wish.Quantity, "CNY");

    public static Guid NewOrderId(Wish wish) => OrderId.New(1_700_000_000_000, Fingerprints.OfUser(UserId(wish.User)), SaleNumber);

    public async Task<ReserveDecision[]> BuyAsync(IReadOnlyList<Wish> wishes, IReadOnlyList<Guid> orderIds, bool withOldEpoch = false, bool tooLate = false)
    {
        var records = wishes.Select((wish, i) => Encode(wish, orderIds[i])).ToArray();
        var decisions = new ReserveDecision[records.Length];
        var notAfter = _redis.NowMilliseconds + (tooLate ? -60_000 : 60_000);
        var tickets = wishes.Select(TicketOf).ToArray();
        await _reserve.DecideAsync(Keys, withOldEpoch ? Epoch - 1 : Epoch, notAfter, records, tickets, decisions, TimeSpan.FromSeconds(10));
        for (var i = 0; i < decisions.Length; i++)
        {
            if (decisions[i].Code is ReserveCode.Accepted or ReserveCode.AcceptedLast)
                _accepted[orderIds[i]] = (records[i], decisions[i].AcceptedAt);
        }
        return decisions;
    }

    /// <summary>Puts returned units up for sale, as if they had rested for long enough.</summary>
    public Task LetRestAsync() => _redis.CallAsync(database => database.HashDeleteAsync(Keys.Sale, "back"));

    public Task TurnAsync(string status) => _redis.CallAsync(database => database.HashSetAsync(Keys.Sale, "status", status));

    public async Task VerifyAsync(bool verified)
    {
        var run = verified ? await RedisRun.IdAsync(_redis) : "of-a-process-that-is-gone";
        await _redis.CallAsync(database => database.HashSetAsync(Keys.Sale, "run", run));
    }

    public Task<int?> SettleAsync(Guid orderId, Verdict verdict) => SettleAsync([], [(orderId, verdict)]);

    /// <summary>Settles many orders as one pack, and removes its outbox entries.</summary>
    public Task<int?> SettleAsync(IReadOnlyList<string> entryIds, IEnumerable<(Guid OrderId, Verdict Verdict)> orders) =>
        _settle.SettleAsync(Keys, entryIds, [.. orders.Select(order => new Settlement(order.Verdict, _accepted[order.OrderId].AcceptedAt, _accepted[order.OrderId].Record))]);

    /// <summary>The ids of the outbox's entries, in order.</summary>
    public async Task<string[]> OutboxEntriesAsync() => [.. (await EntriesAsync()).Select(entry => (string)entry[0]!)];

    /// <summary>Returns the units of an order, as for a row of Postgres that was written under an epoch.</summary>
    /// <returns>Whether Redis holds the sale, verified, under that epoch.</returns>
    public async Task<bool> ReturnAsync(Guid orderId, long epoch)
    {
        var (record, acceptedAt) = _accepted[orderId];
        var sku = record.AsSpan(58, record[57]);
        var row = new byte[52 + sku.Length];
        // Six bytes of time are enough. The record overwrites the two below them.
        BinaryPrimitives.WriteInt64BigEndian(row, acceptedAt << 16);
        record.AsSpan(0, 46).CopyTo(row.AsSpan(6));
        sku.CopyTo(row.AsSpan(52));
        return (int)await Release.CallAsync(_redis, [Keys.Sale, Keys.Stock, Keys.Returned], [Keys.SettledChannel, epoch, row]) == 1;
    }

    /// <summary>
    /// Raises the epoch like a rebuild that finds the same facts. The new epoch knows no burnt tickets and no earlier
    /// returns.
    /// </summary>
    public async Task RaiseEpochAsync()
    {
        await ForgetBurntTicketsAsync();
        var next = Epoch + 1;
        RedisKey[] keys =
        [
            Keys.Sale, Keys.Returned, Keys.Prefix + "owed", Keys.Buyers(next - 1), Keys.Buyers(next),
            .. Enumerable.Range(0, Buckets).SelectMany(bucket => (RedisKey[])[Keys.Facts(next - 1, bucket), Keys.Facts(next, bucket)]),
        ];
        await _redis.CallAsync(database => database.ScriptEvaluateAsync(Raise, keys, [next]));
        Interlocked.Exchange(ref _epoch, next);
    }

    /// <summary>
    /// Redis loses its memory of all orders, and the sale is loaded with this stock of its first item.
    /// </summary>
    public async Task ForgetAsync(int stock)
    {
        await _redis.CallAsync(database => database.KeyDeleteAsync(
            [Keys.Inflight, Keys.InflightUnits, Keys.Outbox, Keys.Buyers(_epoch), .. Enumerable.Range(0, Buckets).Select(bucket => Keys.Facts(_epoch, bucket))]));
        await _redis.CallAsync(database => database.HashSetAsync(Keys.Stock, Sku(0), stock));
    }

    /// <summary>Redis loses all facts of one order except its outbox entry, and its units are for sale again.</summary>
    public async Task ForgetOrderAsync(Guid orderId)
    {
        var (record, _) = _accepted[orderId];
        var (user, quantity) = (BinaryPrimitives.ReadUInt64BigEndian(record.AsSpan(32)), BinaryPrimitives.ReadUInt16BigEndian(record.AsSpan(44)));
        var (facts, sku) = (Keys.Facts(_epoch, (long)((user >> 32) % Buckets)), Encoding.ASCII.GetString(record, 58, record[57]));
        await _redis.CallAsync(database => database.HashDeleteAsync(facts, record[16..32]));
        foreach (var count in (byte[][])[record[32..44], record[32..40]]) await _redis.CallAsync(database => database.HashDecrementAsync(facts, count, (long)quantity));
        await _redis.CallAsync(database => database.HashDeleteAsync(Keys.Inflight, record[..16]));
        await _redis.CallAsync(database => database.HashDecrementAsync(Keys.InflightUnits, sku, (long)quantity));
        if (await _redis.CallAsync(database => database.HashIncrementAsync(Keys.Stock, sku, (long)quantity)) == quantity)
            await _redis.CallAsync(database => database.HashIncrementAsync(Keys.Sale, "left"));
    }

    /// <summary>The number of items with units left, as the scripts count them.</summary>
    public async Task<long> ItemsLeftAsync() => (long)await _redis.CallAsync(database => database.HashGetAsync(Keys.Sale, "left"));

    /// <summary>
    /// Makes only the first call of settling a pack of live orders, which names them by id. Returns the answer of
    /// settle.lua.
    /// </summary>
    public async Task<int[]> SettleShortAsync(Guid[] orderIds)
    {
        var entries = await OutboxEntriesAsync();
        RedisValue[] arguments = [Keys.SettledChannel, entries.Length, .. entries.Select(id => (RedisValue)id), .. orderIds.Select(id => (RedisValue)id.ToByteArray(bigEndian: true))];
        return (int[])(await Settle.CallAsync(_redis, [Keys.Sale, Keys.Stock, Keys.Inflight, Keys.InflightUnits, Keys.Outbox], arguments))!;
    }

    public async Task ForgetBurntTicketsAsync()
    {
        foreach (var (bucket, id) in await BurntTicketsAsync()) await _redis.CallAsync(database => database.HashDeleteAsync(bucket, id));
    }

    /// <summary>The burnt tickets that Redis knows, each with the key of its bucket.</summary>
    public async Task<List<(RedisKey Bucket, RedisValue Id)>> BurntTicketsAsync()
    {
        var burnt = new List<(RedisKey, RedisValue)>();
        foreach (var bucket in Enumerable.Range(0, Buckets).Select(bucket => Keys.Facts(_epoch, bucket)))
            burnt.AddRange((await _redis.CallAsync(database => database.HashKeysAsync(bucket))).Where(field => ((byte[])field!).Length == BurntIdSize).Select(id => (bucket, id)));
        return burnt;
    }

    // Makes a ticket as Tickets.Read hands it over. The server chooses its id, which no other user has.
    private byte[]? TicketOf(Wish wish)
    {
        if (wish.Ticket is Brought.Nothing) return null;
        if (wish.Ticket is Brought.Forged) return [(byte)'-'];
        var ticket = new byte[28];
        // The numbers are written from the end, because the next write covers the two highest bytes of each number.
        BinaryPrimitives.WriteInt64BigEndian(ticket.AsSpan(20), wish.Ticket is Brought.OfOtherEpoch ? _epoch + 1 : _epoch);
        BinaryPrimitives.WriteInt64BigEndian(ticket.AsSpan(14), _redis.NowMilliseconds + (wish.Ticket is Brought.Expired ? -60_000 : 600_000));
        SHA256.HashData(Encoding.ASCII.GetBytes($"{wish.User}/{wish.TicketNumber}")).AsSpan(0, 16).CopyTo(ticket);
        return ticket;
    }

    public async Task<long> OwedAsync(int item) => (long)await _redis.CallAsync(database => database.HashGetAsync(Keys.Prefix + "owed", Sku(item)));

    public async Task<long> RemainingAsync(int item) => (long)await _redis.CallAsync(database => database.HashGetAsync(Keys.Stock, Sku(item)));

    public async Task<long> InFlightUnitsAsync(int item) => (long)await _redis.CallAsync(database => database.HashGetAsync(Keys.InflightUnits, Sku(item)));

    public async Task<IReadOnlySet<Guid>> InFlightAsync() =>
        (await _redis.CallAsync(database => database.HashKeysAsync(Keys.Inflight))).Select(id => new Guid((byte[])id!, bigEndian: true)).ToHashSet();

    public async Task<long> UnitsOfAsync(int user, int? item)
    {
        var record = Encode(new Wish(user, 0, item ?? 0, 1), Guid.Empty);
        var bucket = (long)((Fingerprints.OfUser(UserId(user)) >> 32) % Buckets);
        return (long)await _redis.CallAsync(database => database.HashGetAsync(Keys.Facts(_epoch, bucket), record[32..(item is null ? 40 : 44)]));
    }

    /// <summary>The order ids in the outbox, in order.</summary>
    public async Task<List<Guid>> OutboxAsync()
    {
        var orders = new List<Guid>();
        foreach (var entry in await EntriesAsync())
        {
            var body = ((byte[])((RedisResult[])entry[1]!)[1]!).AsMemory();
            Assert.Equal(ReservationCodec.Version, body.Span[0]);
            for (body = body[1..]; !body.IsEmpty;)
            {
                var (reservation, length) = ReservationCodec.Decode(body.Span, 0);
                orders.Add(reservation.OrderId);
                body = body[length..];
            }
        }
        return orders;
    }

    // Each entry has its id and its fields.
    private async Task<IEnumerable<RedisResult[]>> EntriesAsync() =>
        ((RedisResult[])(await _redis.CallAsync(database => database.ExecuteAsync("XRANGE", Keys.Outbox, "-", "+")))!).Select(entry => (RedisResult[])entry!);

    public async Task<long> BuyersAsync() => await _redis.CallAsync(database => database.StringLengthAsync(Keys.Buyers(_epoch))) / 8;
}
