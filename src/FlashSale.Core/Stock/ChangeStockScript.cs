using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>What change_stock.lua decided.</summary>
public enum ChangeStockVerdict
{
    /// <summary>Redis does not hold the sale, verified, under that epoch.</summary>
    NotLoaded = -1,

    /// <summary>Fewer units remain than would be taken away.</summary>
    Refused = 0,

    /// <summary>Applied, by this call or an earlier one.</summary>
    Applied = 1,
}

/// <summary>The caller of change_stock.lua.</summary>
public sealed class ChangeStockScript(RedisConnection redis)
{
    private static readonly RedisScript Script = new("Stock.units.lua", "Stock.change_stock.lua");

    /// <summary>Applies a change under an epoch, once.</summary>
    /// <param name="saleId">The sale.</param>
    /// <param name="sku">The item.</param>
    /// <param name="key">The idempotency key of its request.</param>
    /// <param name="delta">Units.</param>
    /// <param name="stock">The item's stock after it, of which pages take what "low" is.</param>
    /// <param name="epoch">Under which the sale must be loaded.</param>
    /// <returns>The verdict and the units that remain.</returns>
    /// <exception cref="RedisUnavailableException">It did not run.</exception>
    /// <exception cref="RedisOutcomeUnknownException">It may have run, or may run yet; calling it again tells.</exception>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> ApplyAsync(string saleId, string sku, string key, int delta, int stock, long epoch) =>
        CallAsync(saleId, [NameOf(sku, key, delta), epoch, sku, delta, "apply", stock]);

    /// <summary>Refuses a change under an epoch: takes it back if it was applied, and sees to it that it never is. Exceptions as of applying.</summary>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> RevokeAsync(string saleId, string sku, string key, int delta, long epoch) =>
        CallAsync(saleId, [NameOf(sku, key, delta), epoch, sku, delta, "revoke", ""]);

    /// <summary>The units that remain; null when Redis does not hold the item under that epoch.</summary>
    public async Task<int?> RemainingAsync(string saleId, string sku, long epoch)
    {
        var keys = new SaleKeys(saleId);
        var loaded = await redis.CallAsync(database => database.HashGetAsync(keys.Sale, "epoch"));
        return loaded == epoch ? (int?)await redis.CallAsync(database => database.HashGetAsync(keys.Stock, sku)) : null;
    }

    /// <summary>
    /// The name that Redis knows a change by, from what its manager sent: a number that a Postgres gave and lost in a failover is
    /// given again, to another change.
    /// </summary>
    public static string NameOf(string sku, string key, int delta)
    {
        Span<byte> name = stackalloc byte[Fingerprints.KeySize];
        Fingerprints.OfKey($"{sku}|{delta}", key, name);
        return $"change:{Convert.ToHexStringLower(name)}";
    }

    private async Task<(ChangeStockVerdict, int)> CallAsync(string saleId, RedisValue[] arguments)
    {
        var keys = new SaleKeys(saleId);
        var answer = (RedisResult[])(await Script.CallAsync(redis, [keys.Sale, keys.Stock, keys.Returned], arguments))!;
        return ((ChangeStockVerdict)(int)answer[0], (int)answer[1]);
    }
}
