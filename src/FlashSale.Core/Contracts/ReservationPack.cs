namespace FlashSale.Contracts;

/// <summary>
/// The message between relay and consumer: whole outbox entries of one sale, about a thousand reservations. The type's
/// full name is its address on the wire, so it must stay. Members may be added, but are never moved or renamed.
/// </summary>
/// <param name="Version">Format of the entries' bodies, see <see cref="ReservationCodec.Version"/>.</param>
/// <param name="SaleId">The sale of the outbox that holds the entries.</param>
/// <param name="Entries">The entries, in outbox order.</param>
public sealed record ReservationPack(int Version, string SaleId, IReadOnlyList<OutboxEntry> Entries);

/// <summary>One outbox entry: the reservations of one call of reserve.lua.</summary>
/// <param name="Id">Redis stream id, <c>milliseconds-sequence</c>. The milliseconds are the reservations'
/// acceptedAt.</param>
/// <param name="Records">Reservation records, one after the other, without the version byte.</param>
public sealed record OutboxEntry(string Id, byte[] Records)
{
    /// <summary>Redis TIME of the acceptance, Unix milliseconds.</summary>
    public long AcceptedAt => long.Parse(Id.AsSpan(0, Id.IndexOf('-', StringComparison.Ordinal)));
}
