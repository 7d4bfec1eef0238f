using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// Archives sales that are over: their keys leave Redis, and their orders stay readable in Postgres. A sale is archived
/// only when nothing can happen to it in Redis any more: all orders are settled and paid or closed, all returns and
/// changes of stock are applied, and the books are reconciled. The books closed at that moment are final. They balanced
/// with Redis, which cannot be asked again.
/// </summary>
public sealed class SaleArchiver(NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, LedgerReader ledger)
{
    /// <summary>
    /// Lists the sales that have been over for the retention time and are reconciled, and archived sales that still
    /// have keys in Redis.
    /// </summary>
    public async Task<IReadOnlyList<string>> DueAsync(TimeSpan retention, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<string>(new CommandDefinition("""
            select s.sale_id from sale s left join reconciliation r using (sale_id)
            where (s.status = 'archived' and not s.keys_removed)
               or (s.epoch > 0 and (s.status = 'closed' or s.closes_at <= now()) and s.status in ('live', 'paused', 'closed')
                   and least(s.closed_at, s.closes_at) <= now() - @retention
                   and r.runs_unbalanced = 0 and r.findings = '[]' and r.full_run_at > least(s.closed_at, s.closes_at))
            order by s.number
            """, new { retention }, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Archives a sale, or resumes an archiving that was interrupted.</summary>
    /// <returns>
    /// False when the sale cannot be archived yet, because something is still on its way or the books do not balance.
    /// </returns>
    public async Task<bool> ArchiveAsync(string saleId, Actor actor, CancellationToken cancellation)
    {
        if (!await CloseBooksAsync(saleId, actor, cancellation)) return false;
        // Tell the nodes first, so that no node shows a sale without its keys.
        await publisher.PublishAsync(saleId, cancellation);
        await redis.CallAsync(database => database.SetRemoveAsync(SaleKeys.Outboxes, saleId));
        await RemoveKeysAsync($"{new SaleKeys(saleId).Prefix}*");
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync("update sale set keys_removed = true where sale_id = @saleId", new { saleId });
        return true;
    }

    // Removes all keys of the sale, a thousand at a time, so that no purchase waits long for it.
    private async Task RemoveKeysAsync(string pattern)
    {
        var cursor = "0";
        do
        {
            var page = (RedisResult[])(await redis.CallAsync(database => database.ExecuteAsync("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")))!;
            cursor = (string)page[0]!;
            var keys = (RedisKey[])page[1]!;
            if (keys.Length > 0) await redis.UnlinkAsync(keys);
        }
        while (cursor != "0");
    }

    private async Task<bool> CloseBooksAsync(string saleId, Actor actor, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        if (await connection.ExecuteScalarAsync<int?>("select number from sale where sale_id = @saleId", new { saleId }) is not { } number) return false;
        await connection.ExecuteAsync("set local lock_timeout = '2s'");
        await SaleLock.TakeAsync(connection, number);
        var status = await connection.ExecuteScalarAsync<string>("select status from sale where sale_id = @saleId", new { saleId });
        if (status == "archived") return true;
        var open = await connection.ExecuteScalarAsync<bool>("""
            select exists (select 1 from orders where sale_id = @saleId and status = 'pending_payment')
                or exists (select 1 from stock_return where sale_id = @saleId and state = 'pending')
                or exists (select 1 from stock_change where sale_id = @saleId and state in ('pending', 'recorded'))
                or exists (select 1 from dead_letter where sale_id = @saleId and state = 'open')
            """, new { saleId });
        if (open || !await IsAtRestAsync(new SaleKeys(saleId))) return false;
        if (!(await ledger.ReadLockedAsync(connection, saleId)).Balanced) return false;
        await connection.ExecuteAsync(
            "update sale set status = 'archived', archived_at = now(), version = version + 1, updated_at = now() where sale_id = @saleId", new { saleId });
        await AuditLog.WriteAsync(transaction, actor, "sale.archive", saleId, new { status }, new { status = "archived" });
        await transaction.CommitAsync(cancellation);
        return true;
    }

    private async Task<bool> IsAtRestAsync(SaleKeys keys)
    {
        var (outbox, inFlight) = await redis.CallAsync(async database =>
        {
            var outbox = database.StreamLengthAsync(keys.Outbox);
            var inFlight = database.HashLengthAsync(keys.Inflight);
            return (await outbox, await inFlight);
        });
        return outbox == 0 && inFlight == 0;
    }
}
