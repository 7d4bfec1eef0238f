using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Orders;

/// <summary>
/// Keeps lately settled packs in Redis (<see cref="SaleKeys.Kept"/>) while Postgres has a standby. A promoted standby
/// may lack the last commits of the primary, and the outbox has forgotten those orders. A pack is kept after its commit
/// and before its entries leave the outbox, so at every moment one of the two has its orders.
/// </summary>
public sealed class SettledLog(RedisConnection redis)
{
    private const int PacksPerRead = 4;

    private long _since;
    private volatile bool _isKeeping;

    /// <summary>Whether packs are kept now.</summary>
    public bool IsKeeping => _isKeeping;

    /// <summary>Turns keeping on or off.</summary>
    /// <param name="isKeeping">Whether packs are kept from now on.</param>
    /// <param name="since">Packs kept before this time may be dropped. Redis TIME in Unix milliseconds.</param>
    public void Keep(bool isKeeping, long since)
    {
        Volatile.Write(ref _since, since);
        _isKeeping = isKeeping;
    }

    /// <summary>Keeps a pack that Postgres has committed. Does nothing while keeping is off.</summary>
    public async Task AddAsync(ReservationPack pack)
    {
        if (!_isKeeping || pack.Entries.Count == 0) return;
        var arguments = new object[5 + 2 * pack.Entries.Count];
        (arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]) = (new SaleKeys(pack.SaleId).Kept, "MINID", "~", Volatile.Read(ref _since), "*");
        for (var i = 0; i < pack.Entries.Count; i++)
        {
            arguments[5 + 2 * i] = pack.Entries[i].Id;
            arguments[6 + 2 * i] = pack.Entries[i].Records;
        }
        try
        {
            await redis.CallAsync(database => database.ExecuteAsync("XADD", arguments));
        }
        catch (RedisUnavailableException e) when (e.IsFull)
        {
            // A full Redis must go on settling, since that frees its memory. The next heartbeat tells Redis that
            // nothing is kept.
            _isKeeping = false;
        }
    }

    /// <summary>Reads the packs of a sale that were kept in a time span, oldest first.</summary>
    /// <param name="saleId">Id of the sale.</param>
    /// <param name="since">Start of the span. Redis TIME, Unix milliseconds.</param>
    /// <param name="until">End of the span. Redis TIME, Unix milliseconds.</param>
    public async IAsyncEnumerable<ReservationPack> ReadAsync(string saleId, long since, long until)
    {
        var from = $"{Math.Max(0, since)}";
        while (true)
        {
            var page = await redis.CallAsync(database => database.StreamRangeAsync(new SaleKeys(saleId).Kept, from, $"{until}", PacksPerRead));
            foreach (var item in page)
            {
                from = $"({item.Id}";
                yield return new ReservationPack(ReservationCodec.Version, saleId, [.. item.Values.Select(entry => new OutboxEntry((string)entry.Name!, (byte[])entry.Value!))]);
            }
            if (page.Length < PacksPerRead) yield break;
        }
    }

    /// <summary>
    /// Drops the packs kept before the time given to <see cref="Keep"/>. Needed for sales that settle nothing any more,
    /// since <see cref="AddAsync"/> trims only the sale of its pack.
    /// </summary>
    public async Task TrimAsync(IEnumerable<string> saleIds)
    {
        foreach (var saleId in saleIds)
            await redis.CallAsync(database => database.StreamTrimByMinIdAsync(new SaleKeys(saleId).Kept, Volatile.Read(ref _since)));
    }
}
