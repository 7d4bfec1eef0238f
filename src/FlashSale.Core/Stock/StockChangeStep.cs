using Dapper;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Stock;

/// <summary>A row of stock_change.</summary>
internal sealed record StockChangeRow(
    long ChangeId, string SaleId, string Sku, int Delta, string IdempotencyKey, string Reason, string Actor, string ActorRole, string State, long? Epoch, int? Stock, int? Remaining)
{
    /// <summary>Whether the last step changed the row's state.</summary>
    public bool Progressed { get; init; }
}

/// <summary>
/// One step of a change, in one transaction. The locks are taken in this order: the sale's lock, the change's row, the
/// sale's row (only while it is a draft or archived), the item's row. A change that Redis applied locks the row of a
/// loaded sale last. Redis is asked under these locks, with a deadline. An exception from Redis undoes the step, and
/// the next call of the script finds the verdict of the first.
/// </summary>
internal sealed class StockChangeStep
{
    private readonly NpgsqlTransaction _transaction;
    private readonly ChangeStockScript _script;
    private readonly StockChangeRow _row;
    private readonly string _status;
    private readonly long _epoch;

    private StockChangeStep(NpgsqlTransaction transaction, ChangeStockScript script, StockChangeRow row, string status, long epoch)
    {
        _transaction = transaction;
        _script = script;
        _row = row;
        _status = status;
        _epoch = epoch;
    }

    private NpgsqlConnection Connection => _transaction.Connection!;

    public static async Task<StockChangeStep> BeginAsync(NpgsqlTransaction transaction, long changeId, string saleId, ChangeStockScript script)
    {
        var connection = transaction.Connection!;
        await SaleLock.ShareAsync(transaction, saleId);
        var (status, epoch) = await connection.QuerySingleAsync<(string, long)>("select status, epoch from sale where sale_id = @saleId", new { saleId }, transaction);
        var row = await connection.QuerySingleAsync<StockChangeRow>("""
            select change_id, sale_id, sku, delta, idempotency_key, reason, actor, actor_role, state, epoch, stock, remaining
            from stock_change where change_id = @changeId for update
            """, new { changeId }, transaction);
        return new StockChangeStep(transaction, script, row, status, epoch);
    }

    public Task<StockChangeRow> RunAsync() => (_row.State, _status) switch
    {
        ("applied" or "refused", _) => Task.FromResult(_row),
        // Redis does not hold the sale yet, or no longer.
        ("pending", "draft" or "archived") => ChangePostgresAsync(),
        ("recorded", "archived") => EndAsync("applied", _row.Stock, _row.Stock),
        ("pending", _) when _row.Delta < 0 => LowerAsync(),
        ("pending", _) => RecordIncreaseAsync(),
        _ => RaiseRedisAsync(),
    };

    private async Task<StockChangeRow> ChangePostgresAsync()
    {
        // A draft is not published. The higher version tells a manager that has it open that it has changed.
        await RaiseVersionAsync();
        if (await StockAfterAsync() is not { } stock) return await EndAsync("refused", null, null);
        await SetStockAsync(stock);
        return await EndAsync("applied", stock, stock);
    }

    private async Task<StockChangeRow> LowerAsync()
    {
        // Ask Postgres before Redis. Once Redis has lowered its count, Postgres must not refuse. The item's row lock
        // ensures that.
        if (await StockAfterAsync() is not { } stock)
        {
            // An earlier attempt may have reached Redis, or may still reach it.
            await _script.RevokeAsync(_row.SaleId, _row.Sku, _row.IdempotencyKey, _row.Delta, _epoch);
            return await EndAsync("refused", null, null);
        }
        var (verdict, remaining) = await _script.ApplyAsync(_row.SaleId, _row.Sku, _row.IdempotencyKey, _row.Delta, stock, _epoch);
        if (verdict is ChangeStockVerdict.NotLoaded) return _row;
        if (verdict is ChangeStockVerdict.Refused) return await EndAsync("refused", null, null);
        await SetStockAsync(stock);
        await CountAppliedAsync();
        return await EndAsync("applied", stock, remaining);
    }

    private async Task<StockChangeRow> RecordIncreaseAsync()
    {
        // A load raises the epoch in Postgres first and computes Redis later. An increase recorded in between would
        // carry the new epoch although the load counts it in, and Redis would then apply it again. So it waits until
        // Redis holds the new epoch.
        if (await _script.RemainingAsync(_row.SaleId, _row.Sku, _epoch) is null) return _row;
        if (await StockAfterAsync() is not { } stock) return await EndAsync("refused", null, null);
        await SetStockAsync(stock);
        return await EndAsync("recorded", stock, null);
    }

    private async Task<StockChangeRow> RaiseRedisAsync()
    {
        if (_row.Epoch != _epoch)
        {
            // The sale was loaded again since. That load took the stock from Postgres, which includes this change.
            return await _script.RemainingAsync(_row.SaleId, _row.Sku, _epoch) is { } left ? await EndAsync("applied", _row.Stock, left) : _row;
        }
        var (verdict, remaining) = await _script.ApplyAsync(_row.SaleId, _row.Sku, _row.IdempotencyKey, _row.Delta, _row.Stock!.Value, _epoch);
        if (verdict is not ChangeStockVerdict.Applied) return _row;
        await CountAppliedAsync();
        return await EndAsync("applied", _row.Stock, remaining);
    }

    // Reads the item's new stock under its row lock. Null when the new stock would be below the sold units or above the
    // maximum.
    private Task<int?> StockAfterAsync() => Connection.QuerySingleOrDefaultAsync<int?>("""
        select (i.stock + @Delta::bigint)::int
        from (select stock, sold from sale_item where sale_id = @SaleId and sku = @Sku for update) i
        where i.stock + @Delta::bigint between i.sold and @MaxStock
        """, new { _row.SaleId, _row.Sku, _row.Delta, SaleBounds.MaxStock }, _transaction);

    private async Task SetStockAsync(int stock)
    {
        await Connection.ExecuteAsync("update sale_item set stock = @stock where sale_id = @SaleId and sku = @Sku", new { _row.SaleId, _row.Sku, stock }, _transaction);
        await AuditLog.WriteAsync(_transaction, new Actor(_row.Actor, _row.ActorRole), "item.change_stock", $"{_row.SaleId}/{_row.Sku}",
            new { stock = stock - _row.Delta }, new { stock, _row.Delta, _row.Reason });
    }

    private Task<int> RaiseVersionAsync() =>
        Connection.ExecuteAsync("update sale set version = version + 1, updated_at = now() where sale_id = @SaleId", new { _row.SaleId }, _transaction);

    // Count only a change that Redis itself has applied. A change that a rebuild put into the stock is not among those
    // that Redis remembers.
    private Task<int> CountAppliedAsync() =>
        Connection.ExecuteAsync("update sale set redis_applied = redis_applied + 1 where sale_id = @SaleId and epoch = @_epoch", new { _row.SaleId, _epoch }, _transaction);

    private async Task<StockChangeRow> EndAsync(string state, int? stock, int? remaining)
    {
        await Connection.ExecuteAsync("""
            update stock_change set state = @state, epoch = @epoch, stock = @stock, remaining = @remaining where change_id = @ChangeId
            """, new { _row.ChangeId, state, epoch = _epoch, stock, remaining }, _transaction);
        return _row with { State = state, Epoch = _epoch, Stock = stock, Remaining = remaining, Progressed = true };
    }
}
