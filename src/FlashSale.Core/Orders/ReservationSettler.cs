using FlashSale.Contracts;
using FlashSale.Sales;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Stores packed reservations in Postgres, or in its dead letters, and then settles them in Redis. Their outbox entries
/// are removed only by that settlement. Every step may be repeated, because stored orders are settled again without
/// effect.
/// </summary>
public sealed class ReservationSettler(ReservationStore store, DeadLetters deadLetters, SettledLog log, SettleScript settle)
{
    /// <summary>Stores and settles a pack.</summary>
    /// <returns>The number of its orders that Redis had forgotten.</returns>
    /// <exception cref="Exception">A store is away. Nothing is lost. Call again.</exception>
    public async Task<int> HandleAsync(ReservationPack pack, CancellationToken cancellation)
    {
        var settlements = new List<Settlement>();
        var pending = new List<Item>();
        foreach (var entry in pack.Entries)
        {
            try
            {
                Decode(entry, pending);
            }
            catch (FormatException e)
            {
                await deadLetters.AddAsync(pack.SaleId, Guid.Empty, entry.Records, entry.AcceptedAt, e.Message, null, cancellation);
            }
        }
        foreach (var ofNumber in pending.GroupBy(item => item.SaleNumber))
            await PersistAsync(pack.SaleId, ofNumber.Key, ofNumber.ToArray(), settlements, cancellation);
        await log.AddAsync(pack);
        return await settle.SettleAsync(new SaleKeys(pack.SaleId), [.. pack.Entries.Select(entry => entry.Id)], settlements) ?? 0;
    }

    private static void Decode(OutboxEntry entry, List<Item> items)
    {
        var decoded = new List<Item>();
        for (var rest = entry.Records.AsMemory(); !rest.IsEmpty;)
        {
            var (reservation, length) = ReservationCodec.Decode(rest.Span, entry.AcceptedAt);
            OrderId.TryGetSaleNumber(reservation.OrderId, out var saleNumber);
            decoded.Add(new Item(reservation, saleNumber, rest[..length]));
            rest = rest[length..];
        }
        items.AddRange(decoded);
    }

    // A value that no row may hold fails the whole statement. Halve the items until that one stands alone. All other
    // errors go to the caller.
    private async Task PersistAsync(string saleId, int saleNumber, ArraySegment<Item> items, List<Settlement> settlements, CancellationToken cancellation)
    {
        try
        {
            var stored = await store.PersistAsync(saleId, saleNumber, [.. items.Select(item => item.Reservation)], cancellation);
            for (var i = 0; i < stored.Count; i++)
            {
                var (item, outcome) = (items[i], stored[i]);
                if (outcome.Same) settlements.Add(new(VerdictOf(outcome), item.Reservation.AcceptedAt, item.Record));
                else await BuryAsync(saleId, item, "The order id belongs to another purchase.", null, cancellation);
            }
        }
        catch (PostgresException e) when (IsPoison(e))
        {
            if (items.Count == 1)
            {
                await BuryAsync(saleId, items[0], e.MessageText, e.SqlState, cancellation);
                return;
            }
            var half = items.Count / 2;
            await PersistAsync(saleId, saleNumber, items[..half], settlements, cancellation);
            await PersistAsync(saleId, saleNumber, items[half..], settlements, cancellation);
        }
    }

    // No settlement: the order's in-flight record stays in Redis until an operator decides.
    private Task BuryAsync(string saleId, Item item, string error, string? sqlState, CancellationToken cancellation) =>
        deadLetters.AddAsync(saleId, item.Reservation.OrderId, item.Record, item.Reservation.AcceptedAt, error, sqlState, cancellation);

    internal static bool IsPoison(PostgresException e) => e.SqlState[..2] is "22" or "23";

    internal static Verdict VerdictOf(StoredReservation stored) => stored switch
    {
        { Status: not OrderStatus.Rejected } => Verdict.Live,
        { Reason: "sold_out" } => Verdict.RejectedForStock,
        _ => Verdict.Rejected,
    };

    private sealed record Item(Reservation Reservation, int SaleNumber, ReadOnlyMemory<byte> Record);
}
