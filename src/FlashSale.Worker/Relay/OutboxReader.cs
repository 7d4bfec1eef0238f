using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Worker.Relay;

/// <summary>Entries that are published together.</summary>
/// <param name="Entries">The entries, in outbox order.</param>
/// <param name="Reservations">How many reservations the entries hold.</param>
/// <param name="Last">Id of the last entry that was read, packed or not.</param>
/// <param name="Skipped">Ids of entries that were read and not packed, since a later version of the scripts wrote
/// them.</param>
public sealed record Pack(IReadOnlyList<OutboxEntry> Entries, int Reservations, string Last, IReadOnlyList<string> Skipped);

/// <summary>
/// Reads the outbox of a sale. The stream has no consumer groups, since an entry leaves it in one way only: it is
/// settled.
/// </summary>
public sealed class OutboxReader(RedisConnection redis, SaleKeys keys)
{
    private const int MaxEntriesPerRead = 256;

    // This worker's estimate of the time of Redis may be behind.
    private const int OverGraceMilliseconds = 10_000;

    // How many reservations an entry held lately. Redis sends the entries beyond a full pack in vain, and this class
    // parses them in vain, so it asks for about as many as a pack needs.
    private double _perEntry = 1;

    /// <summary>
    /// Reads the entries after an id, until they hold that many reservations. Null when there are no entries.
    /// </summary>
    public async Task<Pack?> ReadAsync(string after, int reservations)
    {
        var entries = new List<OutboxEntry>();
        var skipped = new List<string>();
        var (count, last) = (0, after);
        while (count < reservations)
        {
            var wanted = Math.Min((int)Math.Ceiling((reservations - count) / _perEntry), MaxEntriesPerRead);
            var page = await redis.CallAsync(database => database.StreamRangeAsync(keys.Outbox, $"({last}", count: wanted));
            foreach (var item in page)
            {
                last = item.Id!;
                var body = (byte[])item.Values[0].Value!;
                // A later version of the scripts wrote this entry. It waits for a worker that understands it.
                if (body.Length == 0 || body[0] != ReservationCodec.Version)
                {
                    skipped.Add(last);
                    continue;
                }
                var entry = new OutboxEntry(last, body[1..]);
                entries.Add(entry);
                count += CountOf(entry);
                if (count >= reservations) break;
            }
            if (entries.Count > 0) _perEntry = (double)count / entries.Count;
            if (page.Length < wanted) break;
        }
        return last == after ? null : new Pack(entries, count, last, skipped);
    }

    /// <summary>
    /// When the newest entry was written, Redis TIME in Unix milliseconds. 0 when the outbox is empty.
    /// </summary>
    public async Task<long> NewestAsync()
    {
        var found = await redis.CallAsync(database => database.StreamRangeAsync(keys.Outbox, count: 1, messageOrder: Order.Descending));
        return found.Length == 0 ? 0 : StreamIds.FirstOf(found[0].Id);
    }

    /// <summary>Whether any entry of a pack is still in the outbox.</summary>
    public async Task<bool> HoldsAnyAsync(SentPack pack)
    {
        var found = await redis.CallAsync(database => database.StreamRangeAsync(keys.Outbox, pack.First, pack.Last, pack.Skipped.Count + 1));
        return found.Any(item => !pack.Skipped.Contains((string)item.Id!, StringComparer.Ordinal));
    }

    /// <summary>
    /// Whether the sale is over, as Redis has it, and its outbox is empty. No entry comes into it any more then.
    /// </summary>
    public async Task<bool> IsOverAsync()
    {
        var (sale, length) = await redis.CallAsync(async database =>
        {
            var sale = database.HashGetAsync(keys.Sale, ["status", "closes"]);
            var length = database.StreamLengthAsync(keys.Outbox);
            return (await sale, await length);
        });
        return length == 0 && (sale[0] == "closed" || sale[1] is { IsNull: false } closes && (long)closes + OverGraceMilliseconds < redis.NowMilliseconds);
    }

    // An unreadable entry counts as one reservation. The consumer makes it a dead letter.
    private static int CountOf(OutboxEntry entry)
    {
        try
        {
            return ReservationCodec.Count(entry.Records);
        }
        catch (FormatException)
        {
            return 1;
        }
    }
}
