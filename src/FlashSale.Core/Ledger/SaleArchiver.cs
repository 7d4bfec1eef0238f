using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>
/// Archives sales that are over: their keys leave Redis, their orders stay readable in Postgres. Only once nothing can
/// happen in Redis any more: all orders settled and paid or closed, all returns and changes applied, the books reconciled.
/// The books that are closed then are true for ever: they balanced with Redis, which nobody can ask again.
/// </summary>
public sealed class SaleArchiver(NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, LedgerReader ledger)
{
    /// <summary>Sales that have been over for that long and are reconciled, and archived ones whose keys are still there.</summary>
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

    /// <summary>Archives a sale, or takes up again what was begun.</summary>
    /// <returns>False when something is still on its way.</returns>
    public async Task<bool> ArchiveAsync(string saleId, Actor actor, CancellationToken cancellation)
    {
        if (!await CloseBooksAsync(saleId, actor, cancellation)) return false;
        // The nodes first: what they still show must be there.
        await publisher.PublishAsync(saleId, cancellation);
        await redis.CallAsync(database => database.SetRemoveAsync(SaleKeys.Outboxes, saleId));
        await RemoveKeysAsync($"{new SaleKeys(saleId).Prefix}*");
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await connection.ExecuteAsync("update sale set keys_removed = true where sale_id = @saleId", new { saleId });
        return true;
    }

    // Whatever there is of the sale. A thousand keys at a time, so that no purchase waits long for it.
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
