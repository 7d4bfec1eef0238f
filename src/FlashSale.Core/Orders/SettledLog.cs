using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Orders;

/// <summary>
/// Keeps what was settled lately, in Redis (<see cref="SaleKeys.Kept"/>), while Postgres has a standby: one that is promoted
/// may lack the last commits of the primary, and the outbox has forgotten those orders. A pack is kept after its commit and
/// before its entries leave the outbox, so at every moment its orders are in one of both.
/// </summary>
public sealed class SettledLog(RedisConnection redis)
{
    private const int PacksPerRead = 4;

    private long _since;
    private volatile bool _isKeeping;

    /// <summary>Whether packs are kept.</summary>
    public bool IsKeeping => _isKeeping;

    /// <summary>Keeps packs from now on, or no longer.</summary>
    /// <param name="isKeeping">Whether to keep.</param>
    /// <param name="since">What was kept before that may go, Redis TIME in Unix milliseconds.</param>
    public void Keep(bool isKeeping, long since)
    {
        Volatile.Write(ref _since, since);
        _isKeeping = isKeeping;
    }

    /// <summary>Keeps a pack that Postgres has committed.</summary>
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
        catch (RedisServerException e) when (e.Message.StartsWith("OOM", StringComparison.Ordinal))
        {
            // A full Redis must settle: that is what frees its memory. The next beat of Postgres says that nothing is kept.
            _isKeeping = false;
        }
    }

    /// <summary>The packs of a sale that were kept in that time, oldest first.</summary>
    /// <param name="saleId">Which.</param>
    /// <param name="since">Redis TIME, Unix milliseconds.</param>
    /// <param name="until">Redis TIME, Unix milliseconds.</param>
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

    /// <summary>Forgets what was kept before the time given to <see cref="Keep"/>, of sales in which nothing is settled any more.</summary>
    public async Task TrimAsync(IEnumerable<string> saleIds)
    {
        foreach (var saleId in saleIds)
            await redis.CallAsync(database => database.StreamTrimByMinIdAsync(new SaleKeys(saleId).Kept, Volatile.Read(ref _since)));
    }
}
