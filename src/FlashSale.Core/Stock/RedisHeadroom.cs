using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Stock;

/// <summary>Whether the memory of Redis will do for the units of all sales that are loaded, sold or not.</summary>
public sealed class RedisHeadroom(RedisConnection redis)
{
    // At rest an order costs about 100 bytes, twice that while a rebuild writes it beside the old one; in flight, with
    // its record and outbox entry, about 600.
    private const long BytesPerOrder = 200;
    private const long BytesPerUnit = 600;

    /// <summary>
    /// What lacks for a sale to be loaded or to get more units, in words; null where memory will do. The sale's own units
    /// may all be in flight at once; those of the others, which their stock has promised memory to, are reckoned at rest.
    /// </summary>
    /// <param name="connection">To Postgres.</param>
    /// <param name="saleId">The sale.</param>
    /// <param name="moreUnits">Units that it is to get; null where it is loaded, and all its orders are written.</param>
    public async Task<string?> LackAsync(NpgsqlConnection connection, string saleId, long? moreUnits = null)
    {
        var (unsold, sold, others) = await connection.QuerySingleAsync<(long, long, long)>("""
            select coalesce(sum(i.stock - i.sold) filter (where s.sale_id = @saleId), 0)::bigint,
                   coalesce(sum(i.sold) filter (where s.sale_id = @saleId), 0)::bigint,
                   coalesce(sum(i.stock - i.sold) filter (where s.sale_id <> @saleId), 0)::bigint
            from sale s join sale_item i using (sale_id)
            where s.sale_id = @saleId or s.epoch > 0 and s.status in ('live', 'paused') and s.closes_at > now()
            """, new { saleId });
        var written = moreUnits is null ? sold : 0;
        var needed = (unsold + (moreUnits ?? 0)) * BytesPerUnit + written * BytesPerOrder + others * BytesPerOrder;
        var memory = await RedisRun.InfoAsync(redis, "memory");
        var limit = memory.Number("maxmemory") is > 0 and var configured ? configured : memory.Number("total_system_memory");
        var used = memory.Number("used_memory");
        return limit == 0 || used + needed <= limit
            ? null
            : $"Redis has {(limit - used) >> 20} MiB of memory left; {unsold + (moreUnits ?? written)} units may need {(needed - others * BytesPerOrder) >> 20} MiB"
                + $" beside {others * BytesPerOrder >> 20} MiB for the units of other sales.";
    }
}
