using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Ledger;

/// <summary>The caller of hold.lua.</summary>
public static class SaleHold
{
    private static readonly RedisScript Script = new("Ledger.hold.lua");

    /// <summary>Stops the selling of a loaded sale until it is loaded under that epoch or a later one.</summary>
    /// <param name="redis">Where.</param>
    /// <param name="keys">Of the sale.</param>
    /// <param name="epoch">Above the one that the sale has.</param>
    public static Task HoldAsync(RedisConnection redis, SaleKeys keys, long epoch) => Script.CallAsync(redis, [keys.Sale], [epoch]);
}
