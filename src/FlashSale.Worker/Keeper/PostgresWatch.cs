using Dapper;
using FlashSale.Admission;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Notices a Postgres that was restored to an earlier point: orders may be missing in it that shoppers were told of, so
/// every sale is paused until an operator rebuilds it. Postgres counts heartbeats, and Redis remembers the last one seen.
/// Nobody counts on before having seen that Postgres is not behind: so one that went back is noticed, however late.
/// </summary>
public sealed partial class PostgresWatch(NpgsqlDataSource postgres, RedisConnection redis, CatalogPublisher publisher, BlocklistPublisher blocklist, ILogger<PostgresWatch> logger)
{
    // Advisory lock class of "a restored Postgres is being dealt with".
    private const int WatchLock = 6;

    /// <summary>Looks; where Postgres went back, holds all sales and goes on from what it is now.</summary>
    public async Task LookAsync(CancellationToken cancellation)
    {
        // What Redis remembers is read first, so that Postgres can only be further.
        var seen = (long?)await redis.CallAsync(database => database.StringGetAsync(SaleKeys.PostgresBeat)) ?? 0;
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        var beat = await connection.ExecuteScalarAsync<long>(new CommandDefinition("select beat from postgres_beat", cancellationToken: cancellation));
        if (beat < seen) await HoldAsync(connection, cancellation);
        beat = await connection.ExecuteScalarAsync<long>(new CommandDefinition("update postgres_beat set beat = beat + 1 returning beat", cancellationToken: cancellation));
        await redis.CallAsync(database => database.StringSetAsync(SaleKeys.PostgresBeat, beat));
    }

    // Several workers notice at once, and one holds the sales: an operator who was quick must not find them held again.
    private async Task HoldAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await connection.ExecuteAsync(new CommandDefinition("select pg_advisory_lock(@WatchLock, 0)", new { WatchLock }, cancellationToken: cancellation));
        try
        {
            var seen = (long?)await redis.CallAsync(database => database.StringGetAsync(SaleKeys.PostgresBeat)) ?? 0;
            var beat = await connection.ExecuteScalarAsync<long>("select beat from postgres_beat");
            if (beat >= seen) return;
            await HoldAllAsync(connection, cancellation);
            await redis.CallAsync(database => database.StringSetAsync(SaleKeys.PostgresBeat, beat));
        }
        finally
        {
            await connection.ExecuteAsync("select pg_advisory_unlock(@WatchLock, 0)", new { WatchLock });
        }
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
            await AuditLog.WriteAsync(transaction, Actor.Worker, "sale.hold", saleId, new { status }, new { reason = "Postgres was restored to an earlier point" });
            await transaction.CommitAsync(cancellation);
            await publisher.PublishAsync(saleId, cancellation);
        }
        // Who was blocked or let in since the backup is not known to this Postgres either.
        await blocklist.ReplaceAsync(cancellation);
    }

    [LoggerMessage(1, LogLevel.Error, "Postgres was restored to an earlier point: all sales are paused until they are rebuilt (POST /api/v1/sales/…/rebuild)")]
    private partial void LogRestored();
}
