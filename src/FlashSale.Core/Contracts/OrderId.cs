using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FlashSale.Contracts;

/// <summary>
/// The identity of an order: a UUID version 8 (RFC 9562, section 5.8), big-endian:
/// 48 bit Unix milliseconds | version | 12 bit virtual shard | variant | 22 bit sale number | 40 bit random.
/// From the id alone any process knows the sale and the shard, and ids sort by time.
/// The time in it comes from the issuing node's clock and is good for sorting and estimates only. Business time is
/// acceptedAt, which reserve.lua tells.
/// </summary>
public static class OrderId
{
    /// <summary>Number of virtual shards that users are spread over.</summary>
    public const int Shards = 4096;

    private const int RandomSize = 5;

    // One call of the generator costs about as much as generating a hundred bytes. So each thread fetches the bytes for
    // 256 ids at once.
    private const int RandomChunk = 256 * RandomSize;

    [ThreadStatic]
    private static byte[]? _random;

    [ThreadStatic]
    private static int _unused;

    /// <summary>Largest sale number that fits the 22 bits of an id.</summary>
    public const int MaxSaleNumber = (1 << 22) - 1;

    /// <summary>Issues a new id.</summary>
    /// <param name="unixMilliseconds">The node's time, Unix milliseconds.</param>
    /// <param name="userHash">The user's hash, see <see cref="Fingerprints.OfUser"/>. Its top 12 bits are the
    /// shard.</param>
    /// <param name="saleNumber">1 to <see cref="MaxSaleNumber"/>.</param>
    public static Guid New(long unixMilliseconds, ulong userHash, int saleNumber)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(saleNumber);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(saleNumber, MaxSaleNumber);
        Span<byte> id = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(id, (ulong)unixMilliseconds << 16 | 0x8000 | userHash >> 52);
        FillRandom(id[^RandomSize..]);
        // variant (2 bit) | sale number (22 bit)
        id[8] = (byte)(0x80 | saleNumber >> 16);
        id[9] = (byte)(saleNumber >> 8);
        id[10] = (byte)saleNumber;
        return new Guid(id, bigEndian: true);
    }

    private static void FillRandom(Span<byte> destination)
    {
        if (_unused == 0)
        {
            RandomNumberGenerator.Fill(_random ??= new byte[RandomChunk]);
            _unused = RandomChunk;
        }
        _random.AsSpan(_unused -= RandomSize, RandomSize).CopyTo(destination);
    }

    /// <summary>
    /// Reads the sale number from an id. Returns false when the UUID is not an order id of this layout.
    /// </summary>
    public static bool TryGetSaleNumber(Guid orderId, out int saleNumber)
    {
        Span<byte> id = stackalloc byte[16];
        orderId.TryWriteBytes(id, bigEndian: true, out _);
        saleNumber = (id[8] & 0x3F) << 16 | id[9] << 8 | id[10];
        return id[6] >> 4 == 8 && id[8] >> 6 == 2 && saleNumber > 0;
    }

    /// <summary>
    /// The time when an id was issued, by the clock of the issuing node. The time is arbitrary when the id has another
    /// layout.
    /// </summary>
    public static DateTimeOffset IssuedAt(Guid orderId)
    {
        Span<byte> id = stackalloc byte[16];
        orderId.TryWriteBytes(id, bigEndian: true, out _);
        var milliseconds = (long)(BinaryPrimitives.ReadUInt64BigEndian(id) >> 16);
        return DateTimeOffset.FromUnixTimeMilliseconds(Math.Min(milliseconds, DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()));
    }

    /// <summary>The virtual shard of an id, 0 to 4095. All orders of one user have the same shard.</summary>
    public static int ShardOf(Guid orderId)
    {
        Span<byte> id = stackalloc byte[16];
        orderId.TryWriteBytes(id, bigEndian: true, out _);
        return (id[6] & 0x0F) << 8 | id[7];
    }
}

/// <summary>
/// Hashes under which Redis keeps facts about users, clients and idempotency keys. Fields of a fixed size let Redis
/// store its hashes as listpacks, at a fraction of the bytes of plain text. They are truncated SHA-256, so nobody can
/// choose a key or an account that collides with another shopper's.
/// </summary>
public static class Fingerprints
{
    /// <summary>Bytes of an idempotency fingerprint.</summary>
    public const int KeySize = 16;

    /// <summary>The 64 bit hash of a user id.</summary>
    public static ulong OfUser(ReadOnlySpan<char> userId)
    {
        Span<byte> text = stackalloc byte[4 * UserId.MaxLength];
        Span<byte> digest = stackalloc byte[32];
        var length = Encoding.UTF8.GetBytes(userId, text);
        SHA256.HashData(text[..length], digest);
        return BinaryPrimitives.ReadUInt64BigEndian(digest);
    }

    /// <summary>
    /// The 64 bit hash of a client id (RFC 9068 <c>client_id</c>), UTF-8. It is never 0, because 0 stands for no
    /// client.
    /// </summary>
    public static ulong OfClient(ReadOnlySpan<byte> clientId)
    {
        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(clientId, digest);
        return Math.Max(1, BinaryPrimitives.ReadUInt64BigEndian(digest));
    }

    /// <summary>The 128 bit hash of (user id, idempotency key), written to <paramref name="destination"/>.</summary>
    public static void OfKey(ReadOnlySpan<char> userId, ReadOnlySpan<char> key, Span<byte> destination)
    {
        // A user id that contains '|' gets another separator: the byte 0, which neither an id nor a key can contain.
        // Otherwise (a|b, c) and (a, b|c) would be one order. All other ids keep '|', and with it the fingerprint under
        // which Redis knows their orders.
        var separator = userId.Contains('|') ? (byte)0 : (byte)'|';
        Span<byte> text = stackalloc byte[4 * UserId.MaxLength + 1 + 4 * 255];
        Span<byte> digest = stackalloc byte[32];
        var length = Encoding.UTF8.GetBytes(userId, text);
        text[length++] = separator;
        length += Encoding.UTF8.GetBytes(key, text[length..]);
        SHA256.HashData(text[..length], digest);
        digest[..KeySize].CopyTo(destination);
    }
}
