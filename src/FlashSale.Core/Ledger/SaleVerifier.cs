using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// Decides whether a restarted Redis may go on selling a sale with the data that it still has. Redis has lost nothing
/// that matters if all of this holds: it has Postgres' epoch, its outbox has come at least as far as the newest order
/// in Postgres, it knows every return and stock change that Postgres knows it to have applied, and the books balance.
/// Otherwise the sale must be loaded again.
/// </summary>
public sealed class SaleVerifier(NpgsqlDataSource postgres, RedisConnection redis, LedgerReader ledger)
{
    private static readonly RedisScript VerifyScript = new("Ledger.verify.lua");

    /// <summary>Verifies the sale, and lets it sell if Redis has lost nothing.</summary>
    /// <returns>False when the sale must be loaded again.</returns>
    /// <exception cref="PostgresException">55P03: another transaction holds the sale's lock. Call again.</exception>
    public async Task<bool> VerifyAsync(string saleId, int number, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // Give up a sale if its lock is taken for longer than this, since other sales wait to be verified.
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

    /// <summary>
    /// Lets a sale sell in the Redis process with that run id, if Redis still holds the sale under that epoch. False
    /// otherwise.
    /// </summary>
    internal static async Task<bool> LetSellAsync(RedisConnection redis, SaleKeys keys, string runId, long epoch) =>
        (int)await VerifyScript.CallAsync(redis, [keys.Sale], [runId, epoch]) == 1;
}
