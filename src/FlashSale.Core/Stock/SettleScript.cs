using System.Text;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>What Postgres decided about a reservation.</summary>
public enum Verdict : byte
{
    /// <summary>Stored as an order.</summary>
    Live = (byte)'L',

    /// <summary>Stored as rejected: Redis offered units that an order it had forgotten holds. They go back; settling that order takes them.</summary>
    RejectedForStock = (byte)'S',

    /// <summary>Stored as rejected, for a limit or as a duplicate: the units go back.</summary>
    Rejected = (byte)'R',
}

/// <summary>A reservation's record and what became of it.</summary>
/// <param name="Verdict">Postgres' decision.</param>
/// <param name="AcceptedAt">Redis TIME of the acceptance, Unix milliseconds.</param>
/// <param name="Record">As accepted, see <see cref="Contracts.ReservationCodec"/>.</param>
public readonly record struct Settlement(Verdict Verdict, long AcceptedAt, ReadOnlyMemory<byte> Record);

/// <summary>The caller of settle.lua.</summary>
public sealed class SettleScript(RedisConnection redis)
{
    // A call holds Redis for about a microsecond an order; purchases wait that long.
    private const int OrdersPerCall = 512;
    private const int IdSize = 16;

    private static readonly RedisScript Script = new("Stock.units.lua", "Stock.settle.lua");

    /// <summary>Settles reservations; the outbox entries go with the last of them. May be repeated.</summary>
    /// <returns>How many orders Redis had forgotten; null when it does not know the sale.</returns>
    /// <exception cref="RedisUnavailableException">A part may be done; repeat.</exception>
    /// <exception cref="RedisOutcomeUnknownException">A part may be done; repeat.</exception>
    public async Task<int?> SettleAsync(SaleKeys keys, IReadOnlyList<string> entryIds, IReadOnlyList<Settlement> settlements)
    {
        var forgotten = 0;
        for (var start = 0; start == 0 || start < settlements.Count; start += OrdersPerCall)
        {
            Settlement[] chunk = [.. settlements.Skip(start).Take(OrdersPerCall)];
            var entries = start + OrdersPerCall >= settlements.Count ? entryIds : [];
            var answer = await CallAsync(keys, entries, chunk, Short);
            // Settled before, or forgotten: only the whole record tells what there is to do.
            if (answer is { Length: > 1 })
            {
                forgotten += answer[0];
                Settlement[] live = [.. chunk.Where(settlement => settlement.Verdict is Verdict.Live)];
                answer = await CallAsync(keys, entries, [.. answer.Skip(1).Select(position => live[position - 1])], Whole);
            }
            if (answer is null) return null;
            forgotten += answer[0];
        }
        return forgotten;
    }

    // What settle.lua says; null when the sale is not loaded.
    private async Task<int[]?> CallAsync(SaleKeys keys, IReadOnlyList<string> entries, Settlement[] settlements, Func<Settlement, byte[]> encode)
    {
        var arguments = new RedisValue[2 + entries.Count + settlements.Length];
        arguments[0] = keys.SettledChannel;
        arguments[1] = entries.Count;
        for (var i = 0; i < entries.Count; i++) arguments[2 + i] = entries[i];
        for (var i = 0; i < settlements.Length; i++) arguments[2 + entries.Count + i] = encode(settlements[i]);
        var answer = await Script.CallAsync(redis, [keys.Sale, keys.Stock, keys.Inflight, keys.InflightUnits, keys.Outbox], arguments);
        return answer.IsNull ? null : (int[])answer!;
    }

    private static byte[] Short(Settlement settlement) => settlement.Verdict is Verdict.Live ? settlement.Record[..IdSize].ToArray() : Whole(settlement);

    private static byte[] Whole(Settlement settlement)
    {
        var record = settlement.Record.Span;
        var bytes = new byte[7 + record.Length];
        bytes[0] = (byte)settlement.Verdict;
        var at = settlement.AcceptedAt;
        for (var i = 6; i >= 1; i--, at >>= 8) bytes[i] = (byte)at;
        record.CopyTo(bytes.AsSpan(7));
        return bytes;
    }
}
