using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Notices a Postgres that was restored to an earlier point: it is another cluster, or its log is less far than Redis
/// remembers. Orders may be missing in it that shoppers were told of, so every sale is paused until an operator rebuilds it.
/// </summary>
public sealed partial class PostgresWatch(NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, ILogger<PostgresWatch> logger)
{
    private static readonly Actor Worker = new("worker", "system");

    /// <summary>Looks; where Postgres went back, holds all sales and remembers the Postgres that there is now.</summary>
    public async Task LookAsync(CancellationToken cancellation)
    {
        // What Redis remembers is read first, so that Postgres can only be further.
        var seen = await redis.CallAsync(database => database.HashGetAsync(SaleKeys.SeenPostgres, ["system", "lsn"]));
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // What is flushed is durable: a crash does not take it back.
        var (system, lsn) = await connection.QuerySingleAsync<(string System, long Lsn)>(new CommandDefinition(
            "select system_identifier::text, (pg_current_wal_flush_lsn() - '0/0')::bigint from pg_control_system()", cancellationToken: cancellation));
        if (!seen[0].IsNull && (seen[0] != system || (long)seen[1] > lsn)) await HoldAllAsync(connection, cancellation);
        else if (seen[0] == system && (long)seen[1] == lsn) return;
        await redis.CallAsync(async database =>
        {
            await database.HashSetAsync(SaleKeys.SeenPostgres, [new("system", system), new("lsn", lsn)]);
            return true;
        });
    }

    private async Task HoldAllAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        LogRestored();
        // What is published is of a later version than what this Postgres knows, and would not give way.
        var published = await publisher.PublishedVersionsAsync();
        var sales = await connection.QueryAsync<(string SaleId, string Status)>(
            "select sale_id, status from sale where epoch > 0 and status in ('live', 'paused', 'closed') order by number");
        foreach (var (saleId, status) in sales)
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellation);
            await SaleLock.ShareAsync(transaction, saleId);
            await connection.ExecuteAsync("""
                update sale set status = case status when 'live' then 'paused' else status end, rebuild_required = true,
                                version = greatest(version, @known) + 1, updated_at = now()
                where sale_id = @saleId
                """, new { saleId, known = published.GetValueOrDefault(saleId) }, transaction);
            await AuditLog.WriteAsync(transaction, Worker, "sale.hold", saleId, new { status }, new { reason = "Postgres was restored to an earlier point" });
            await transaction.CommitAsync(cancellation);
            await publisher.PublishAsync(saleId, cancellation);
        }
    }

    [LoggerMessage(1, LogLevel.Error, "Postgres was restored to an earlier point: all sales are paused until they are rebuilt (POST /api/v1/sales/…/rebuild)")]
    private partial void LogRestored();
}
