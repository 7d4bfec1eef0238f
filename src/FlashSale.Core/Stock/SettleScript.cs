using System.Text;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Stock;

/// <summary>The decision of Postgres about a reservation.</summary>
public enum Verdict : byte
{
    /// <summary>Postgres has stored the reservation as an order that holds its units.</summary>
    Live = (byte)'L',

    /// <summary>
    /// Postgres has stored the order as rejected: Redis had forgotten an order and offered its units again. The units
    /// go back, and the settlement of the forgotten order takes them.
    /// </summary>
    RejectedForStock = (byte)'S',

    /// <summary>
    /// Postgres has stored the order as rejected for a limit or as a duplicate, or an operator rejected it. The units
    /// go back.
    /// </summary>
    Rejected = (byte)'R',
}

/// <summary>A reservation with the decision about it.</summary>
/// <param name="Verdict">The decision of Postgres.</param>
/// <param name="AcceptedAt">Redis TIME of the acceptance, Unix milliseconds.</param>
/// <param name="Record">The record as it was accepted, see <see cref="Contracts.ReservationCodec"/>.</param>
public readonly record struct Settlement(Verdict Verdict, long AcceptedAt, ReadOnlyMemory<byte> Record);

/// <summary>Calls settle.lua.</summary>
public sealed class SettleScript(RedisConnection redis)
{
    // A call blocks Redis for about a microsecond per order, and purchases wait that long.
    private const int OrdersPerCall = 512;
    private const int IdSize = 16;

    private static readonly RedisScript Script = new("Stock.units.lua", "Stock.settle.lua");

    /// <summary>
    /// Settles reservations in Redis, and removes their outbox entries with the last of them. May be repeated.
    /// </summary>
    /// <returns>The number of orders that Redis had forgotten. Null when Redis does not know the sale.</returns>
    /// <exception cref="RedisUnavailableException">
    /// Some of the reservations may be settled. Repeat the call.
    /// </exception>
    /// <exception cref="RedisOutcomeUnknownException">
    /// Some of the reservations may be settled. Repeat the call.
    /// </exception>
    public async Task<int?> SettleAsync(SaleKeys keys, IReadOnlyList<string> entryIds, IReadOnlyList<Settlement> settlements)
    {
        var forgotten = 0;
        for (var start = 0; start == 0 || start < settlements.Count; start += OrdersPerCall)
        {
            Settlement[] chunk = [.. settlements.Skip(start).Take(OrdersPerCall)];
            var entries = start + OrdersPerCall >= settlements.Count ? entryIds : [];
            var answer = await CallAsync(keys, entries, chunk, Short);
            // These orders are not in flight: they were settled before, or Redis has forgotten them. The script needs
            // their whole records to tell which.
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

    // Returns the answer of settle.lua. Null when the sale is not loaded.
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
