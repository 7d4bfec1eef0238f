using Dapper;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Worker.Keeper;

/// <summary>A sale that Redis must hold, as Postgres has it.</summary>
/// <param name="SaleId">The sale.</param>
/// <param name="Number">Its number, part of the key of its lock.</param>
/// <param name="Epoch">The fence that the sale must carry in Redis.</param>
/// <param name="Version">The version of the state that is to be published.</param>
/// <param name="RebuildRequired">Whether the sale may go on only after an operator has rebuilt it.</param>
/// <param name="HasEnded">Whether the sale is closed or past its end.</param>
/// <param name="Unfinished">Whether a change of its stock was begun and not finished.</param>
public sealed record KeptSale(string SaleId, int Number, long Epoch, long Version, bool RebuildRequired, bool HasEnded, bool Unfinished);

/// <summary>The state of a sale in Redis. A field is null where Redis does not have it.</summary>
/// <param name="Epoch">The epoch under which the sale was loaded.</param>
/// <param name="Version">The version of its state.</param>
/// <param name="RunId">The run id of the Redis process in which the sale was loaded or verified.</param>
public sealed record HeldSale(long? Epoch, long? Version, string? RunId);

/// <summary>Reads the sales that the keeper compares, in both stores.</summary>
public sealed class KeptSales(NpgsqlDataSource postgres, RedisConnection redis)
{
    // One call sends this many commands and waits for all replies within its deadline.
    private const int SalesPerCall = 500;

    /// <summary>
    /// Reads all sales that were loaded and are not archived, in the order in which shoppers need them after a loss:
    /// open sales, sales that open next, paused sales, and last the sales that have ended, the newest first.
    /// </summary>
    public async Task<IReadOnlyList<KeptSale>> ReadAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        return (await connection.QueryAsync<KeptSale>(new CommandDefinition("""
            select s.sale_id, s.number, s.epoch, s.version, s.rebuild_required, e.has_ended,
                   exists (select 1 from stock_change c where c.sale_id = s.sale_id and c.state in ('pending', 'recorded')) as unfinished
            from sale s, lateral (select s.status = 'closed' or s.closes_at <= now() as has_ended) e
            where s.status in ('live', 'paused', 'closed') and s.epoch > 0
            order by e.has_ended, s.status = 'paused', case when e.has_ended then -s.number end, greatest(s.opens_at, now()), s.number
            """, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Reads the states of these sales in Redis, in the order of <paramref name="sales"/>.</summary>
    public async Task<IReadOnlyList<HeldSale>> HeldAsync(IReadOnlyList<KeptSale> sales)
    {
        var held = new List<HeldSale>(sales.Count);
        foreach (var some in sales.Chunk(SalesPerCall))
        {
            var states = await redis.CallAsync(database => Task.WhenAll(
                some.Select(sale => database.HashGetAsync(new SaleKeys(sale.SaleId).Sale, (RedisValue[])["epoch", "version", "run"]))));
            held.AddRange(states.Select(state => new HeldSale((long?)state[0], (long?)state[1], state[2])));
        }
        return held;
    }
}
