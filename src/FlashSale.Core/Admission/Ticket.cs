using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Contracts;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Admission;

/// <summary>
/// Signs and reads tickets. A ticket is the right of one user to buy once in one sale, until it expires or the sale is
/// rebuilt. It has 80 characters of base64url. Big-endian:
/// <code>
///  0  16  id, random                22   6  epoch of the sale
/// 16   6  expiry, Unix ms           28  32  HMAC-SHA256 of: sale id | user id | the 28 bytes before
/// </code>
/// User and sale are not in it: the request that presents the ticket names them. admit.lua gives the first 28 bytes,
/// and only one valid ticket at a time to each user. reserve.lua receives them, and judges expiry, epoch and whether
/// the ticket has already bought. It must be asked even about a bad ticket, since the purchase may be a retry.
/// </summary>
public sealed class Tickets
{
    /// <summary>The request header that carries the ticket of a purchase.</summary>
    public const string Header = "Purchase-Ticket";

    /// <summary>Characters of a ticket.</summary>
    public const int Length = 80;

    // Size is a multiple of three, so base64url leaves no unused bits, and a ticket has only one spelling.
    private const int Size = BodySize + SigningKey.Size;
    private const int BodySize = 28;
    private const int IdSize = 16;
    private const int MaxText = 64 + UserId.MaxLength + 2 + BodySize;

    private static readonly byte[] None = "-"u8.ToArray();

    private readonly SigningKey _key;

    /// <summary>Derives the signing key from the options.</summary>
    /// <exception cref="Platform.InvalidSettingException">The configured key is too short.</exception>
    public Tickets(AdmissionOptions options) => _key = options.KeyFor("ticket");

    /// <summary>Makes the ticket from a body that admit.lua gave.</summary>
    /// <param name="saleId">The sale that it admits to.</param>
    /// <param name="userId">The user that it admits.</param>
    /// <param name="body">The ticket's first 28 bytes.</param>
    public string Sign(string saleId, string userId, ReadOnlySpan<byte> body)
    {
        Span<byte> ticket = stackalloc byte[Size];
        body.CopyTo(ticket);
        Span<byte> signed = stackalloc byte[MaxText];
        _key.Sign(signed[..WriteSigned(saleId, userId, ticket[..BodySize], signed)], ticket[BodySize..]);
        return Base64Url.EncodeToString(ticket);
    }

    /// <summary>The id of a new ticket: 16 random bytes.</summary>
    public static byte[] NewId() => RandomNumberGenerator.GetBytes(IdSize);

    /// <summary>The expiry of a ticket: Redis TIME from which it is invalid, Unix milliseconds.</summary>
    /// <param name="body">The ticket's first 28 bytes.</param>
    public static long ExpiryOf(ReadOnlySpan<byte> body) =>
        (long)BinaryPrimitives.ReadUInt16BigEndian(body[IdSize..]) << 32 | BinaryPrimitives.ReadUInt32BigEndian(body[(IdSize + 2)..]);

    /// <summary>
    /// The ticket argument of reserve.lua: the first 28 bytes if the ticket is signed for this user and sale. Null
    /// without a ticket. For a bad ticket one byte, which reserve.lua judges as an invalid ticket.
    /// </summary>
    /// <param name="header">The values of the <see cref="Header"/> header.</param>
    /// <param name="saleId">The sale of the purchase.</param>
    /// <param name="userId">The user of the purchase.</param>
    public byte[]? Read(StringValues header, string saleId, string userId)
    {
        if (header.Count == 0) return null;
        Span<byte> ticket = stackalloc byte[Size];
        if (header.Count > 1 || header[0] is not { Length: Length } text
            || Base64Url.DecodeFromChars(text, ticket, out _, out var length) is not OperationStatus.Done || length != Size)
            return None;
        Span<byte> signed = stackalloc byte[MaxText];
        return _key.IsSignature(signed[..WriteSigned(saleId, userId, ticket[..BodySize], signed)], ticket[BodySize..]) ? ticket[..BodySize].ToArray() : None;
    }

    // A sale id holds no separator, and the body has a fixed size. So different tickets never have the same signed
    // bytes.
    private static int WriteSigned(string saleId, string userId, ReadOnlySpan<byte> body, Span<byte> signed)
    {
        var length = Encoding.ASCII.GetBytes(saleId, signed);
        signed[length++] = (byte)'|';
        length += Encoding.ASCII.GetBytes(userId, signed[length..]);
        signed[length++] = (byte)'|';
        body.CopyTo(signed[length..]);
        return length + body.Length;
    }
}
