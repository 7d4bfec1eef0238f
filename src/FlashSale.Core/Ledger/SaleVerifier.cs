using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// Decides whether a Redis that was started anew may go on selling a sale with what it still knows. It has lost nothing
/// that matters when it carries Postgres' epoch, its outbox has come at least as far as the newest order that Postgres
/// holds, it knows every return and change that Postgres knows it to have applied, and the books balance. Else the sale must be loaded again.
/// </summary>
public sealed class SaleVerifier(NpgsqlDataSource postgres, RedisConnection redis, LedgerReader ledger)
{
    private static readonly RedisScript VerifyScript = new("Ledger.verify.lua");

    /// <summary>Looks, and lets the sale sell when nothing was lost.</summary>
    /// <returns>False when the sale must be loaded again.</returns>
    /// <exception cref="PostgresException">55P03: the sale's lock is taken; call again.</exception>
    public async Task<bool> VerifyAsync(string saleId, int number, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // A sale whose lock is taken is passed over: others wait to be verified.
        await connection.ExecuteAsync("set local lock_timeout = '1s'");
        await SaleLock.TakeAsync(connection, number);
        var runId = await RedisRun.IdAsync(redis);
        var (epoch, applied) = await connection.QuerySingleAsync<(long, long)>("select epoch, redis_applied from sale where sale_id = @saleId", new { saleId });
        var known = (string?)await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(saleId).Sale, "epoch"));
        if (known != epoch.ToString()) return false;
        var books = await ledger.ReadLockedAsync(connection, saleId);
        var newest = await connection.ExecuteScalarAsync<long?>(
            "select (extract(epoch from max(accepted_at)) * 1000)::bigint from orders where sale_id = @saleId", new { saleId }) ?? 0;
        var last = long.Parse(books.LastOutboxId.AsSpan(0, books.LastOutboxId.IndexOf('-', StringComparison.Ordinal)));
        if (!books.Balanced || last < newest || books.Returned < applied) return false;
        return await LetSellAsync(redis, new SaleKeys(saleId), runId, epoch);
    }

    /// <summary>Lets a sale sell in the Redis process of that run id, as long as it has that epoch there.</summary>
    internal static async Task<bool> LetSellAsync(RedisConnection redis, SaleKeys keys, string runId, long epoch) =>
        (int)await VerifyScript.CallAsync(redis, [keys.Sale], [runId, epoch]) == 1;
}
