using System.Collections.Frozen;
using System.Runtime.CompilerServices;
using FlashSale.Admission;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Api.Sales;

/// <summary>
/// Looks at the stock in Redis on behalf of all requests. A look serves for half a second, so a page costs Redis the
/// same however many shoppers look at it. One look runs at a time. Other requests meanwhile get the last one, as all do
/// while Redis is away.
/// </summary>
public sealed class SaleLooks(RedisConnection redis, Degradation degradation)
{
    private const int LifeMilliseconds = 500;

    // A page does not wait longer for a silent Redis. It shows the stock that was seen last.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(250);

    // All versions of a sale share their keys, so a look lives as long as the storefront has the sale.
    private readonly ConditionalWeakTable<SaleKeys, StockLook> _looks = [];
    private long _listedAt = long.MinValue / 2;
    private int _listing;
    private volatile FrozenSet<string> _soldOut = FrozenSet<string>.Empty;

    /// <summary>The stock of each item of a sale, from the latest look.</summary>
    public async ValueTask<StockLook> OfAsync(SaleOnSale sale)
    {
        var look = _looks.GetValue(sale.Keys, static _ => new StockLook());
        var now = Environment.TickCount64;
        if (!MayLook() || now - Volatile.Read(ref look.At) < LifeMilliseconds || Interlocked.Exchange(ref look.Busy, 1) == 1) return look;
        try
        {
            var (remaining, stocked) = await redis.CallAsync(async database =>
            {
                var remaining = database.HashGetAllAsync(sale.Keys.Stock);
                var stocked = database.HashGetAllAsync(sale.Keys.Stocked);
                return (await remaining, await stocked);
            }, Patience);
            look.Stocked = Read(stocked);
            look.Remaining = Read(remaining);
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // Redis is away, and the page stays as it was.
        }
        finally
        {
            Volatile.Write(ref look.At, now);
            Volatile.Write(ref look.Busy, 0);
        }
        return look;
    }

    /// <summary>
    /// The ids of the open sales with nothing left. Costs Redis one number per open sale, however many items it has.
    /// Returns the same object as before when nothing has changed.
    /// </summary>
    public async ValueTask<FrozenSet<string>> SoldOutAsync(IReadOnlyList<SaleOnSale> sales, long redisNow)
    {
        var now = Environment.TickCount64;
        if (!MayLook() || now - Volatile.Read(ref _listedAt) < LifeMilliseconds || Interlocked.Exchange(ref _listing, 1) == 1) return _soldOut;
        try
        {
            var open = sales.Where(sale => sale.Published.PhaseAt(redisNow) is SalePhase.Open).ToArray();
            var left = await redis.CallAsync(database => Task.WhenAll(open.Select(sale => database.HashGetAsync(sale.Keys.Sale, "left"))), Patience);
            var soldOut = open.Where((_, i) => left[i].HasValue && (long)left[i] <= 0).Select(sale => sale.Published.SaleId).ToFrozenSet(StringComparer.Ordinal);
            if (!soldOut.SetEquals(_soldOut)) _soldOut = soldOut;
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // Redis is away, and the list stays as it was.
        }
        finally
        {
            Volatile.Write(ref _listedAt, now);
            Volatile.Write(ref _listing, 0);
        }
        return _soldOut;
    }

    /// <summary>Whether an open sale had nothing left when this node saw it within the last second.</summary>
    public async ValueTask<bool> IsSoldOutAsync(SaleOnSale sale)
    {
        var look = await OfAsync(sale);
        return Environment.TickCount64 - Volatile.Read(ref look.At) < 2 * LifeMilliseconds && look.Shown(sale, redis.NowMilliseconds).IsSoldOut;
    }

    private bool MayLook() => redis.IsHealthy && !degradation.IsOff(Features.LiveFigures | Features.FreshSalePages);

    private static Dictionary<string, long> Read(HashEntry[] entries) =>
        entries.ToDictionary(entry => (string)entry.Name!, entry => (long)entry.Value, StringComparer.Ordinal);
}
