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
    /// <returns>The verdict and the units that remain.</returns>
    /// <exception cref="RedisUnavailableException">It did not run.</exception>
    /// <exception cref="RedisOutcomeUnknownException">It may have run, or may run yet; calling it again tells.</exception>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> ApplyAsync(string saleId, string sku, long changeId, int delta, long epoch) =>
        CallAsync(saleId, [$"change:{changeId}", epoch, sku, delta, "apply"]);

    /// <summary>Refuses a change under an epoch: takes it back if it was applied, and sees to it that it never is. Exceptions as of applying.</summary>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> RevokeAsync(string saleId, string sku, long changeId, int delta, long epoch) =>
        CallAsync(saleId, [$"change:{changeId}", epoch, sku, delta, "revoke"]);

    /// <summary>The units that remain; null when Redis does not hold the item under that epoch.</summary>
    public async Task<int?> RemainingAsync(string saleId, string sku, long epoch)
    {
        var keys = new SaleKeys(saleId);
        var loaded = await redis.CallAsync(database => database.HashGetAsync(keys.Sale, "epoch"));
        return loaded == epoch ? (int?)await redis.CallAsync(database => database.HashGetAsync(keys.Stock, sku)) : null;
    }

    private async Task<(ChangeStockVerdict, int)> CallAsync(string saleId, RedisValue[] arguments)
    {
        var keys = new SaleKeys(saleId);
        var answer = (RedisResult[])(await Script.CallAsync(redis, [keys.Sale, keys.Stock, keys.Returned], arguments))!;
        return ((ChangeStockVerdict)(int)answer[0], (int)answer[1]);
    }
}
