using System.Buffers.Binary;
using System.Text;
using Dapper;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Npgsql;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>A sale with units that are on their way back to Redis.</summary>
/// <param name="SaleId">Id of the sale.</param>
/// <param name="HasEnded">Whether the sale is closed or past closesAt, so that it sells nothing any more.</param>
public sealed record SaleWithReturns(string SaleId, bool HasEnded);

/// <summary>
/// Carries units that Postgres gave back (table stock_return) to Redis, each once. release.lua remembers the returns
/// that it has applied, and applies a return only under the epoch of its row. If a process dies between Redis and the
/// commit, the row stays pending, and applying it again changes nothing. A rebuild supersedes pending returns, since it
/// computes Redis from Postgres.
/// </summary>
public sealed class StockReturns(NpgsqlDataSource postgres, RedisConnection redis)
{
    // A call blocks Redis for a few microseconds per return, and purchases wait that long.
    private const int ReturnsPerCall = 256;

    // A quantity is 1000 at most, so this bit is free. It says that the units stay on the user's count.
    private const int KeepsCount = 0x8000;

    private static readonly RedisScript Script = new("Stock.units.lua", "Stock.release.lua");

    /// <summary>Lists the sales with pending returns. Sales that still sell come first.</summary>
    public async Task<IReadOnlyList<SaleWithReturns>> SalesAsync(CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        // Jumps from sale to sale along the index, so the number of pending returns does not matter.
        return (await connection.QueryAsync<SaleWithReturns>(new CommandDefinition("""
            with recursive pending as (
                (select sale_id from stock_return where state = 'pending' order by sale_id limit 1)
                union all
                select (select r.sale_id from stock_return r where r.state = 'pending' and r.sale_id > p.sale_id order by r.sale_id limit 1)
                from pending p where p.sale_id is not null)
            select sale_id, status = 'closed' or closes_at <= now() as has_ended from pending join sale using (sale_id) order by has_ended, number
            """, cancellationToken: cancellation))).AsList();
    }

    /// <summary>Applies all pending returns of a sale.</summary>
    /// <returns>
    /// The number of applied returns. Returns stay pending when the sale's lock is taken, or when Redis does not hold
    /// the sale under Postgres' epoch.
    /// </returns>
    /// <exception cref="RedisUnavailableException">Redis is away. Call again.</exception>
    /// <exception cref="RedisOutcomeUnknownException">
    /// Redis may have applied some of the returns. Call again.
    /// </exception>
    /// <exception cref="NpgsqlException">Postgres is away. Call again.</exception>
    public async Task<int> ApplyAsync(string saleId, CancellationToken cancellation)
    {
        for (var applied = 0; ;)
        {
            var count = await ApplySomeAsync(saleId, cancellation);
            applied += count;
            if (count < ReturnsPerCall) return applied;
        }
    }

    private async Task<int> ApplySomeAsync(string saleId, CancellationToken cancellation)
    {
        await using var connection = await postgres.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // Under the sale's lock a rebuild runs before or after this transaction, never during it. Do not wait for a
        // lock that is taken: a rebuild supersedes the pending returns, and units of other sales wait as well.
        if (!await SaleLock.TryShareAsync(transaction, saleId)) return 0;
        var epoch = await connection.ExecuteScalarAsync<long>("select epoch from sale where sale_id = @saleId", new { saleId });
        var rows = (await connection.QueryAsync<ReturnRow>("""
            select r.return_id, r.order_id, r.sku, i.item_no, r.user_id, r.idempotency_key, r.quantity, r.keeps_count,
                   (extract(epoch from r.accepted_at) * 1000)::bigint as accepted_at
            from stock_return r join sale_item i using (sale_id, sku)
            where r.sale_id = @saleId and r.state = 'pending' and r.epoch = @epoch
            order by r.return_id limit @ReturnsPerCall for update of r skip locked
            """, new { saleId, epoch, ReturnsPerCall })).AsList();
        if (rows.Count == 0 || !await ReleaseAsync(new SaleKeys(saleId), epoch, rows)) return 0;
        await connection.ExecuteAsync("update stock_return set state = 'applied' where return_id = any (@ids)", new { ids = rows.Select(row => row.ReturnId).ToArray() });
        // The epoch condition skips a sale that a load has begun to rebuild. That load raises the epoch and counts from
        // 0.
        await connection.ExecuteAsync("update sale set redis_applied = redis_applied + @Count where sale_id = @saleId and epoch = @epoch", new { saleId, epoch, rows.Count });
        await transaction.CommitAsync(cancellation);
        return rows.Count;
    }

    private async Task<bool> ReleaseAsync(SaleKeys keys, long epoch, List<ReturnRow> rows)
    {
        var arguments = new RedisValue[2 + rows.Count];
        arguments[0] = keys.SettledChannel;
        arguments[1] = epoch;
        for (var i = 0; i < rows.Count; i++) arguments[2 + i] = Encode(rows[i]);
        return (int)await Script.CallAsync(redis, [keys.Sale, keys.Stock, keys.Returned], arguments) == 1;
    }

    /// <summary>
    /// The field of <see cref="SaleKeys.Returned"/> that records that an order's units have returned.
    /// </summary>
    internal static byte[] FieldOf(Guid orderId) => orderId.ToByteArray(bigEndian: true);

    private static byte[] Encode(ReturnRow row)
    {
        var bytes = new byte[52 + row.Sku.Length];
        // Six bytes of time are enough. The order id overwrites the lower two of the eight bytes written before it.
        BinaryPrimitives.WriteInt64BigEndian(bytes, row.AcceptedAt << 16);
        row.OrderId.TryWriteBytes(bytes.AsSpan(6), bigEndian: true, out _);
        Fingerprints.OfKey(row.UserId, row.IdempotencyKey, bytes.AsSpan(22));
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(38), Fingerprints.OfUser(row.UserId));
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(46), row.ItemNo);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(50), (ushort)(row.Quantity | (row.KeepsCount ? KeepsCount : 0)));
        Encoding.ASCII.GetBytes(row.Sku, bytes.AsSpan(52));
        return bytes;
    }

    private sealed record ReturnRow(long ReturnId, Guid OrderId, string Sku, int ItemNo, string UserId, string IdempotencyKey, int Quantity, bool KeepsCount, long AcceptedAt);
}
