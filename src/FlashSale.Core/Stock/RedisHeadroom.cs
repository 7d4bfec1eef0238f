using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Stock;

/// <summary>Tells whether Redis has enough memory for the units of all loaded sales, sold or not.</summary>
public sealed class RedisHeadroom(RedisConnection redis)
{
    // An order at rest takes about 100 bytes, and twice that while a rebuild writes it beside the old one. An order in
    // flight, with its record and outbox entry, takes about 600 bytes.
    private const long BytesPerOrder = 200;
    private const long BytesPerUnit = 600;

    /// <summary>
    /// Says in words how much memory lacks to load a sale or to give it more units. Null when memory is enough. All
    /// units of the sale itself may be in flight at once. The unsold units of other loaded sales count as orders at
    /// rest, because their stock has been promised that memory.
    /// </summary>
    /// <param name="connection">A connection to Postgres.</param>
    /// <param name="saleId">Id of the sale.</param>
    /// <param name="moreUnits">
    /// Units that a loaded sale is to get. Null when the sale is to be loaded, which writes all its orders.
    /// </param>
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
