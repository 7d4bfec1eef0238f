using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Ledger;

/// <summary>Calls hold.lua.</summary>
public static class SaleHold
{
    private static readonly RedisScript Script = new("Ledger.hold.lua");

    /// <summary>
    /// Stops the selling of a loaded sale until it is loaded under <paramref name="epoch"/> or a later epoch.
    /// </summary>
    /// <param name="redis">The connection to Redis.</param>
    /// <param name="keys">The keys of the sale.</param>
    /// <param name="epoch">An epoch above the one that the sale has in Redis. Otherwise the call does nothing.</param>
    public static Task HoldAsync(RedisConnection redis, SaleKeys keys, long epoch) => Script.CallAsync(redis, [keys.Sale], [epoch]);
}
