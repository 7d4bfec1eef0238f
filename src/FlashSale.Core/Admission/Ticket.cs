using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Contracts;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Admission;

/// <summary>
/// Signs and reads tickets: the right of one user to buy once in one sale, until it expires or the sale is rebuilt.
/// A ticket is 80 characters of base64url. Big-endian:
/// <code>
///  0  16  id, random                22   6  epoch of the sale
/// 16   6  expiry, Unix ms           28  32  HMAC-SHA256 of: sale id | user id | the 28 bytes before
/// </code>
/// User and sale are not in it: the shopper who presents it brings his own. admit.lua gives the first 28 bytes, one ticket at a time to each user.
/// reserve.lua takes them, and judges expiry, epoch and whether it has bought already; it must be asked even about a bad
/// ticket, since the purchase may be a retry.
/// </summary>
public sealed class Tickets
{
    /// <summary>The header of a purchase that brings it.</summary>
    public const string Header = "Purchase-Ticket";

    /// <summary>Characters of a ticket.</summary>
    public const int Length = 80;

    // A multiple of three: base64url leaves no bits over, so a ticket has one spelling.
    private const int Size = BodySize + SigningKey.Size;
    private const int BodySize = 28;
    private const int IdSize = 16;
    private const int MaxText = 64 + UserId.MaxLength + 2 + BodySize;

    private static readonly byte[] None = "-"u8.ToArray();

    private readonly SigningKey _key;

    /// <summary>Takes the key.</summary>
    /// <exception cref="Platform.InvalidSettingException">It is too short.</exception>
    public Tickets(AdmissionOptions options) => _key = options.KeyFor("ticket");

    /// <summary>Makes the ticket of a body that admit.lua gave.</summary>
    /// <param name="saleId">Where it admits.</param>
    /// <param name="userId">Whom it admits.</param>
    /// <param name="body">Its first 28 bytes.</param>
    public string Sign(string saleId, string userId, ReadOnlySpan<byte> body)
    {
        Span<byte> ticket = stackalloc byte[Size];
        body.CopyTo(ticket);
        Span<byte> signed = stackalloc byte[MaxText];
        _key.Sign(signed[..WriteSigned(saleId, userId, ticket[..BodySize], signed)], ticket[BodySize..]);
        return Base64Url.EncodeToString(ticket);
    }

    /// <summary>A new ticket's id.</summary>
    public static byte[] NewId() => RandomNumberGenerator.GetBytes(IdSize);

    /// <summary>Redis TIME from which a ticket is worth nothing, Unix milliseconds.</summary>
    /// <param name="body">Its first 28 bytes.</param>
    public static long ExpiryOf(ReadOnlySpan<byte> body) =>
        (long)BinaryPrimitives.ReadUInt16BigEndian(body[IdSize..]) << 32 | BinaryPrimitives.ReadUInt32BigEndian(body[(IdSize + 2)..]);

    /// <summary>What reserve.lua takes of a ticket: its first 28 bytes when it is signed for this user and sale; null when there is none.</summary>
    /// <param name="header">The header's values.</param>
    /// <param name="saleId">Where the purchase is made.</param>
    /// <param name="userId">Who makes it.</param>
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

    // A sale id holds no separator, and the rest is of fixed size: no two of them are signed as the same bytes.
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
