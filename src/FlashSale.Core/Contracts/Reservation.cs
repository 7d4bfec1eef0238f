using System.Buffers.Binary;
using System.Text;

namespace FlashSale.Contracts;

/// <summary>One accepted purchase on its way to Postgres.</summary>
/// <param name="OrderId">The order's id, see <see cref="Contracts.OrderId"/>.</param>
/// <param name="ItemNumber">Number of the item in its sale, from 1.</param>
/// <param name="Sku">1-64 characters.</param>
/// <param name="UserId">The shopper's id, see <see cref="Contracts.UserId"/>.</param>
/// <param name="Key">The idempotency key, unquoted, 1-255 visible ASCII characters.</param>
/// <param name="Quantity">Units, 1-1000.</param>
/// <param name="Amount">Price of all units, in minor units of <paramref name="Currency"/>.</param>
/// <param name="Currency">ISO 4217 code.</param>
/// <param name="AcceptedAt">Redis TIME of the acceptance, Unix milliseconds.</param>
public sealed record Reservation(
    Guid OrderId, int ItemNumber, string Sku, string UserId, string Key, int Quantity, long Amount, string Currency, long AcceptedAt);

/// <summary>
/// The binary form of a reservation, the same in reserve.lua's arguments, the outbox, the in-flight records and
/// the broker's messages. Big-endian:
/// <code>
///  0  16  order id                 32   8  user hash          46   8  amount
/// 16  16  idempotency fingerprint  40   4  item number        54   3  currency
///                                  44   2  quantity           57      sku, user id, key: each length (1) + ASCII
/// </code>
/// An outbox entry is a version byte followed by records. Their acceptedAt is the millisecond part of the entry's id.
/// </summary>
public static class ReservationCodec
{
    /// <summary>
    /// Version byte of the outbox entries and messages that this code writes. Readers do not process other versions.
    /// </summary>
    public const byte Version = 1;

    /// <summary>Bytes before the first text.</summary>
    public const int HeadSize = 57;

    private const int MaxSize = HeadSize + 3 + 64 + Contracts.UserId.MaxLength + 255;

    /// <summary>
    /// Encodes a reservation for reserve.lua. The record holds no acceptance time, because Redis tells that later.
    /// </summary>
    public static byte[] Encode(Guid orderId, ulong userHash, int itemNumber, string sku, string userId, ReadOnlySpan<char> key, int quantity, long amount, string currency)
    {
        Span<byte> buffer = stackalloc byte[MaxSize];
        orderId.TryWriteBytes(buffer, bigEndian: true, out _);
        Fingerprints.OfKey(userId, key, buffer[16..]);
        BinaryPrimitives.WriteUInt64BigEndian(buffer[32..], userHash);
        BinaryPrimitives.WriteInt32BigEndian(buffer[40..], itemNumber);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[44..], checked((ushort)quantity));
        BinaryPrimitives.WriteInt64BigEndian(buffer[46..], amount);
        Encoding.ASCII.GetBytes(currency, buffer.Slice(54, 3));
        var length = HeadSize;
        length += WriteText(buffer[length..], sku);
        length += WriteText(buffer[length..], userId);
        length += WriteText(buffer[length..], key);
        return buffer[..length].ToArray();
    }

    /// <summary>Decodes the record at the start of <paramref name="records"/>.</summary>
    /// <returns>The reservation and the bytes it took.</returns>
    /// <exception cref="FormatException">The bytes are not a record.</exception>
    public static (Reservation Reservation, int Length) Decode(ReadOnlySpan<byte> records, long acceptedAt)
    {
        if (records.Length < HeadSize + 3)
            throw new FormatException($"A reservation record takes at least {HeadSize + 3} bytes, {records.Length} are left.");
        var length = HeadSize;
        var sku = ReadText(records, ref length);
        var userId = ReadText(records, ref length);
        var key = ReadText(records, ref length);
        var reservation = new Reservation(
            new Guid(records[..16], bigEndian: true),
            BinaryPrimitives.ReadInt32BigEndian(records[40..]),
            sku, userId, key,
            BinaryPrimitives.ReadUInt16BigEndian(records[44..]),
            BinaryPrimitives.ReadInt64BigEndian(records[46..]),
            Encoding.ASCII.GetString(records.Slice(54, 3)),
            acceptedAt);
        return (reservation, length);
    }

    /// <summary>Counts the records in the body of an entry, without decoding them.</summary>
    /// <exception cref="FormatException">The bytes are not a sequence of records.</exception>
    public static int Count(ReadOnlySpan<byte> records)
    {
        var count = 0;
        for (; !records.IsEmpty; count++)
        {
            var length = HeadSize;
            for (var text = 0; text < 3; text++)
            {
                if (length >= records.Length) throw new FormatException("A reservation record is cut short.");
                length += 1 + records[length];
            }
            if (length > records.Length) throw new FormatException("A reservation record is cut short.");
            records = records[length..];
        }
        return count;
    }

    private static int WriteText(Span<byte> destination, ReadOnlySpan<char> text)
    {
        destination[0] = checked((byte)text.Length);
        return 1 + Encoding.ASCII.GetBytes(text, destination[1..]);
    }

    private static string ReadText(ReadOnlySpan<byte> records, ref int position)
    {
        if (position >= records.Length || position + 1 + records[position] > records.Length)
            throw new FormatException("A reservation record is cut short.");
        var text = Encoding.Latin1.GetString(records.Slice(position + 1, records[position]));
        position += 1 + text.Length;
        return text;
    }
}
