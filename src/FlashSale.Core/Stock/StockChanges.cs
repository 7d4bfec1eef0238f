using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Stock;

/// <summary>
/// Changes an item's stock in two stores. A change can be resumed at any point, and the order of its steps never lets
/// Redis have more units than Postgres allows: a decrease lowers Redis, then Postgres. An increase raises Postgres,
/// then Redis. The row in stock_change is written first and records the state of the change.
/// <code>
/// decrease  pending --Redis lowered, then stock lowered--> applied | refused
/// increase  pending --stock raised under epoch E--> recorded --Redis raised, if the epoch is still E--> applied
/// </code>
/// Every step shares the sale's lock and reads the epoch under it, so a rebuild runs before or after a step, never
/// during it. A rebuild computes Redis from Postgres. A decrease that had reached only Redis is therefore applied
/// again, under the new epoch. An increase that had reached only Postgres is part of the rebuild and must not be
/// applied again.
/// The catalog does not publish changes of stock. Shoppers see of the stock only whether few units are left ("low"),
/// and the script stores the number for that beside the remaining units. Publishing would send all items of the sale to
/// every node, once per changed item.
/// </summary>
public sealed class StockChanges(NpgsqlDataSource postgres, ChangeStockScript script, RedisHeadroom headroom)
{
    /// <summary>Makes a change, or returns the answer to the same request before.</summary>
    public async Task<StockChangeAnswer> ApplyAsync(StockChange change, Actor actor, CancellationToken cancellation)
    {
        if (!SaleBounds.IsSaleId(change.SaleId)) return new(StockChangeResult.SaleNotFound);
        if (!SaleBounds.IsSku(change.Sku)) return new(StockChangeResult.ItemNotFound);
        if (change.Delta > 0 && await LackAsync(change, cancellation) is { } lack) return new(StockChangeResult.NoMemory, Reason: lack);
        var (refused, changeId) = await RecordAsync(change, actor, cancellation);
        if (refused is { } result) return new(result);
        try
        {
            return await FinishAsync(changeId, change.SaleId, cancellation);
        }
        catch (Exception e) when (Stores.IsAway(e))
        {
            return new(StockChangeResult.Unfinished);
        }
    }

    /// <summary>Finishes the unfinished changes of a sale, as far as Redis allows it.</summary>
    public async Task ResumeAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var changes = await connection.QueryAsync<long>(new CommandDefinition(
            "select change_id from stock_change where sale_id = @saleId and state in ('pending', 'recorded') order by change_id",
            new { saleId }, cancellationToken: cancellation));
        foreach (var changeId in changes) await FinishAsync(changeId, saleId, cancellation);
    }

    // Only for a new change of a loaded sale. A Redis that runs full would stop all sales in the middle of a rush.
    private async Task<string?> LackAsync(StockChange change, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        if (await FindAsync(connection, change) is not null) return null;
        if (!await connection.ExecuteScalarAsync<bool>("select exists (select 1 from sale where sale_id = @SaleId and epoch > 0 and status in ('live', 'paused'))", change)) return null;
        try
        {
            return await headroom.LackAsync(connection, change.SaleId, change.Delta);
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // The change is recorded now, and applied when Redis is back.
            return null;
        }
    }

    // The row is committed before Redis is asked. If this process dies after that, a worker still knows of the change.
    private async Task<(StockChangeResult? Refused, long ChangeId)> RecordAsync(StockChange change, Actor actor, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        if (await FindAsync(connection, change) is { } known) return known;
        var found = await connection.QuerySingleOrDefaultAsync<(string Status, bool HasItem)?>("""
            select status, exists (select 1 from sale_item where sale_id = s.sale_id and sku = @Sku) from sale s where sale_id = @SaleId
            """, change);
        if (found is not { } sale) return (StockChangeResult.SaleNotFound, 0);
        if (!sale.HasItem) return (StockChangeResult.ItemNotFound, 0);
        if (sale.Status is "closed" or "archived") return (StockChangeResult.SaleClosed, 0);
        var changeId = await connection.QuerySingleOrDefaultAsync<long?>("""
            insert into stock_change (sale_id, sku, delta, reason, actor, actor_role, idempotency_key)
            values (@SaleId, @Sku, @Delta, @Reason, @Name, @Role, @Key)
            on conflict (sale_id, sku, idempotency_key) do nothing returning change_id
            """, new { change.SaleId, change.Sku, change.Delta, change.Reason, actor.Name, actor.Role, change.Key });
        // Null: the same key came in twice at once, and the other request was first.
        return changeId is { } id ? (null, id) : (await FindAsync(connection, change))!.Value;
    }

    private static async Task<(StockChangeResult? Refused, long ChangeId)?> FindAsync(NpgsqlConnection connection, StockChange change)
    {
        var known = await connection.QuerySingleOrDefaultAsync<(long ChangeId, int Delta, string Reason)?>(
            "select change_id, delta, reason from stock_change where sale_id = @SaleId and sku = @Sku and idempotency_key = @Key", change);
        if (known is not { } row) return null;
        return row.Delta == change.Delta && row.Reason == change.Reason ? (null, row.ChangeId) : (StockChangeResult.KeyReused, 0);
    }

    private async Task<StockChangeAnswer> FinishAsync(long changeId, string saleId, CancellationToken cancellation)
    {
        while (true)
        {
            var row = await StepAsync(changeId, saleId, cancellation);
            if (row.Progressed && row.State is "recorded") continue;
            return row.State switch
            {
                "applied" => new(StockChangeResult.Applied, row.Stock!.Value, row.Remaining!.Value),
                "refused" => new(row.Delta < 0 ? StockChangeResult.BelowSold : StockChangeResult.TooLarge),
                _ => new(StockChangeResult.Unfinished),
            };
        }
    }

    private async Task<StockChangeRow> StepAsync(long changeId, string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var step = await StockChangeStep.BeginAsync(transaction, changeId, saleId, script);
        var row = await step.RunAsync();
        await transaction.CommitAsync(cancellation);
        return row;
    }
}
