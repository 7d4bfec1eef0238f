using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>The verdict of change_stock.lua.</summary>
public enum ChangeStockVerdict
{
    /// <summary>Redis does not hold the sale under that epoch, or the sale is not verified there.</summary>
    NotLoaded = -1,

    /// <summary>Fewer units remain than the change would take away, or the change was refused before.</summary>
    Refused = 0,

    /// <summary>Redis has applied the change, in this call or an earlier one.</summary>
    Applied = 1,
}

/// <summary>Calls change_stock.lua.</summary>
public sealed class ChangeStockScript(RedisConnection redis)
{
    private static readonly RedisScript Script = new("Stock.units.lua", "Stock.change_stock.lua");

    /// <summary>Applies a change under an epoch, once however often it is called.</summary>
    /// <param name="saleId">Id of the sale.</param>
    /// <param name="sku">SKU of the item.</param>
    /// <param name="key">The idempotency key of the manager's request.</param>
    /// <param name="delta">Units to add, or to take away when negative.</param>
    /// <param name="stock">
    /// The item's stock after the change, in units. Sale pages judge by it when few units are "low".
    /// </param>
    /// <param name="epoch">The epoch under which Redis must hold the sale.</param>
    /// <returns>The verdict, and the units that remain.</returns>
    /// <exception cref="RedisUnavailableException">The script did not run.</exception>
    /// <exception cref="RedisOutcomeUnknownException">
    /// The script may have run, or may run yet. Calling again tells.
    /// </exception>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> ApplyAsync(string saleId, string sku, string key, int delta, int stock, long epoch) =>
        CallAsync(saleId, [NameOf(sku, key, delta), epoch, sku, delta, "apply", stock]);

    /// <summary>
    /// Refuses a change under an epoch: takes the change back if Redis has applied it, and makes sure that Redis never
    /// applies it later. Throws the same exceptions as <see cref="ApplyAsync"/>.
    /// </summary>
    public Task<(ChangeStockVerdict Verdict, int Remaining)> RevokeAsync(string saleId, string sku, string key, int delta, long epoch) =>
        CallAsync(saleId, [NameOf(sku, key, delta), epoch, sku, delta, "revoke", ""]);

    /// <summary>
    /// Reads the units of the item that remain. Null when Redis does not hold the item under that epoch.
    /// </summary>
    public async Task<int?> RemainingAsync(string saleId, string sku, long epoch)
    {
        var keys = new SaleKeys(saleId);
        var loaded = await redis.CallAsync(database => database.HashGetAsync(keys.Sale, "epoch"));
        return loaded == epoch ? (int?)await redis.CallAsync(database => database.HashGetAsync(keys.Stock, sku)) : null;
    }

    /// <summary>
    /// Makes the name by which Redis knows a change, from the manager's request. The change's number in Postgres would
    /// not do: a number that a Postgres lost in a failover is given again, to another change.
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
