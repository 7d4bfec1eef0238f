using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Contracts;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Admin.Sales;

/// <summary>
/// Preload and rebuild. A preload loads a draft. A rebuild loads a loaded sale again. It is allowed only while the sale
/// is paused, when an earlier load of it did not come to its end, or when Postgres was restored to an earlier point.
/// One manager at a time loads a sale. Otherwise, when two managers preload a draft at once, the second would find it
/// loaded and rebuild it.
/// </summary>
public sealed class SaleLoads(NpgsqlDataSource postgres, RedisConnection redis, SaleReader sales, SaleLoader loader)
{
    // Class of the advisory lock that a manager holds while the sale is loaded on request.
    private const int ManagerLock = 3;

    // A load takes some of the host's connections for as long as it lasts, and pauses and closes need the others.
    private const int LoadsAtOnce = 4;
    private static readonly SemaphoreSlim Places = new(LoadsAtOnce);
    private static readonly TimeSpan Lease = TimeSpan.FromSeconds(10);

    /// <summary>Loads a sale, if its state and the role of the sender allow it.</summary>
    public async Task<IResult> LoadAsync(string saleId, string action, HttpContext context)
    {
        if (await sales.ReadAsync(saleId, context.RequestAborted) is not { } sale) return AdminProblems.SaleNotFound;
        await using var alone = await SessionLock.TryTakeAsync(postgres, ManagerLock, sale.Number, Lease, CancellationToken.None);
        if (alone is null) return AdminProblems.Conflict("The sale is being loaded at this moment.");
        if (!await Places.WaitAsync(TimeSpan.Zero))
            return AdminProblems.Unavailable($"{LoadsAtOnce} other sales are being loaded; repeat the request when one of them is done.");
        try
        {
            // Read again, now that nobody else loads the sale.
            sale = (await sales.ReadAsync(saleId, CancellationToken.None))!;
            if (await RefusalAsync(sale, context, rebuild: action == "sale.rebuild") is { } refusal) return refusal;
            var phase = PhaseOf(sale);
            // The load is carried through, even if the manager does not wait any more.
            var loaded = await loader.LoadAsync(saleId, (transaction, begun) =>
                AuditLog.WriteAsync(transaction, context.Actor(), action, saleId, new { status = phase, sale.Epoch }, begun), CancellationToken.None);
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
            Places.Release();
        }
    }

    private async Task<IResult?> RefusalAsync(SaleHead sale, HttpContext context, bool rebuild)
    {
        if (sale.ItemCount == 0) return AdminProblems.Conflict("The sale has no items; add some first.");
        if (sale.Status is SaleStatus.Draft && sale.Epoch == 0 && !sale.RebuildRequired)
        {
            if (rebuild) return AdminProblems.Conflict("The sale is a draft; preload it.");
            // The sale would be closed at once, and for good.
            return sale.ClosesAt > sales.Now(sale) ? null
                : AdminProblems.Conflict($"The sale's closesAt, {Timestamps.Text(sale.ClosesAt)}, is past; PUT the sale with a later one first.");
        }
        var isUnfinished = sale.Status is SaleStatus.Live && await IsUnfinishedAsync(sale);
        // A manager may bring a load to its end that was cut off. Any other load of a loaded sale is a rebuild.
        if (!context.Reaches(AdminRole.Operator) && (sale.RebuildRequired || !isUnfinished))
            return AdminProblems.Forbidden($"The sale is {PhaseOf(sale)}. To load a loaded sale again is to rebuild it, which needs the role operator"
                + (sale.RebuildRequired ? ", since Postgres was restored to an earlier point." : "."));
        return sale.Status is SaleStatus.Paused || isUnfinished || (sale.RebuildRequired && sale.Status is not SaleStatus.Archived)
            ? null
            : AdminProblems.Conflict($"The sale is {PhaseOf(sale)}; a loaded sale is loaded again only while it is paused.");
    }

    private string PhaseOf(SaleHead sale) => SaleTransitions.PhaseText(sale.Status, sale.OpensAt, sale.ClosesAt, sales.Now(sale));

    // A load raises the epoch in Postgres first. So when Redis has another epoch, the load was cut off.
    private async Task<bool> IsUnfinishedAsync(SaleHead sale) =>
        await redis.CallAsync(database => database.HashGetAsync(new SaleKeys(sale.SaleId).Sale, "epoch")) != sale.Epoch;
}
