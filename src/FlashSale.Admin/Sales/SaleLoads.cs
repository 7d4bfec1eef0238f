using Dapper;
using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admin.Sales;

/// <summary>
/// Preload and rebuild. A draft is loaded; a loaded sale is loaded again, which is the rebuild, only while it is paused,
/// or when an earlier load of it did not come to its end. One manager at a time: of two who preload a draft at once the
/// second must not find it loaded and rebuild it.
/// </summary>
public sealed class SaleLoads(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales, SaleLoader loader)
{
    // Advisory lock class of "a manager has this sale loaded".
    private const int ManagerLock = 3;

    /// <summary>Loads a sale, if it is in a state for it.</summary>
    public async Task<IResult> LoadAsync(string saleId, string action, HttpContext context)
    {
        if (await sales.ReadAsync(saleId, context.RequestAborted) is not { } sale) return AdminProblems.SaleNotFound;
        await using var connection = await postgres.OpenConnectionAsync(context.RequestAborted);
        if (!await connection.ExecuteScalarAsync<bool>("select pg_try_advisory_lock(@ManagerLock, @Number)", new { ManagerLock, sale.Number }))
            return AdminProblems.Conflict("The sale is being loaded at this moment.");
        try
        {
            // Again, now that nobody else loads it.
            sale = (await sales.ReadAsync(saleId, CancellationToken.None))!;
            if (await RefusalAsync(sale, rebuild: action == "sale.rebuild") is { } refusal) return AdminProblems.Conflict(refusal);
            // Carried through, whether or not its manager still waits.
            var loaded = await loader.LoadAsync(saleId, CancellationToken.None);
            await using var transaction = await connection.BeginTransactionAsync();
            await AuditLog.WriteAsync(transaction, context.Actor(), action, saleId, new { status = sale.StoredStatus, sale.Epoch }, loaded);
            await transaction.CommitAsync();
            return Results.Ok(new LoadPage(loaded.Items, loaded.Units, loaded.Epoch));
        }
        catch (SaleLoadException e)
        {
            return AdminProblems.NotLoaded(e.Message);
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            return AdminProblems.NotLoaded("Redis does not answer. Repeat the request when it does; what was begun is brought to its end.");
        }
        finally
        {
            await connection.ExecuteAsync("select pg_advisory_unlock(@ManagerLock, @Number)", new { ManagerLock, sale.Number });
        }
    }

    private async Task<string?> RefusalAsync(SaleHead sale, bool rebuild)
    {
        if (sale.ItemCount == 0) return "The sale has no items; add some first.";
        switch (sale.Status)
        {
            case SaleStatus.Draft when rebuild: return "The sale is a draft; preload it.";
            case SaleStatus.Draft or SaleStatus.Paused: return null;
            case not SaleStatus.Archived when sale.RebuildRequired: return null;
            case SaleStatus.Live when await IsUnfinishedAsync(sale): return null;
            default:
                var phase = SaleTransitions.PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, sales.Now(sale));
                return $"The sale is {phase}; a loaded sale is loaded again only while it is paused.";
        }
    }

    // A load raises the epoch in Postgres first: where Redis has another one, it was cut off.
    private async Task<bool> IsUnfinishedAsync(SaleHead sale) =>
        await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(sale.SaleId).Sale, "epoch")) != sale.Epoch;
}
