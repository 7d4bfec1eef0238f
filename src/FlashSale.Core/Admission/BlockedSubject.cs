using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FlashSale.Contracts;

namespace FlashSale.Admission;

/// <summary>The kinds of blocklist entries. The contract and the table spell them user, ip, cidr and client.</summary>
public enum BlockedKind
{
    /// <summary>A shopper, by the user id of the token (the claim <see cref="JwtOptions.UserClaim"/>).</summary>
    User,

    /// <summary>One IPv4 or IPv6 address.</summary>
    Ip,

    /// <summary>An IPv4 or IPv6 network.</summary>
    Cidr,

    /// <summary>An application, by the <c>client_id</c> of the token.</summary>
    Client,
}

/// <summary>
/// A user, address, network or client in its only normal spelling. IPv6 is spelled as in RFC 5952. An IPv4-mapped IPv6
/// address or network is spelled as its IPv4 form. A network has no host bits.
/// </summary>
/// <param name="Kind">The kind.</param>
/// <param name="Value">The normal spelling.</param>
/// <param name="Key">The key that nodes compare.</param>
public sealed record BlockedSubject(BlockedKind Kind, string Value, BlockKey Key)
{
    /// <summary>
    /// The shortest prefix that may be blocked, in bits. Registries give one holder nothing shorter, so a shorter
    /// prefix would lock out everyone in a large part of the world.
    /// </summary>
    public const int MinPrefix4 = 8, MinPrefix6 = 19;

    private const int MaxClient = 128;
    private const int MappedBits = 96;

    private static readonly SearchValues<char> Ip6Characters = SearchValues.Create("0123456789abcdefABCDEF:.");

    /// <summary>The kinds in the spelling of the contract, for error texts.</summary>
    public const string Kinds = "user, ip, cidr or client";

    /// <summary>Spells a kind as the contract does.</summary>
    public static string Text(BlockedKind kind) => kind switch
    {
        BlockedKind.User => "user",
        BlockedKind.Ip => "ip",
        BlockedKind.Cidr => "cidr",
        BlockedKind.Client => "client",
    };

    /// <summary>Reads a kind in the contract's spelling. False for any other text.</summary>
    public static bool TryReadKind(ReadOnlySpan<char> text, out BlockedKind kind)
    {
        BlockedKind? found = text switch { "user" => BlockedKind.User, "ip" => BlockedKind.Ip, "cidr" => BlockedKind.Cidr, "client" => BlockedKind.Client, _ => null };
        kind = found ?? default;
        return found is not null;
    }

    /// <summary>Reads a value of a kind, and brings it into its normal spelling.</summary>
    /// <returns>
    /// False when the text is not such a value. <paramref name="rule"/> then says in words which values are allowed.
    /// </returns>
    public static bool TryRead(BlockedKind kind, string text, [NotNullWhen(true)] out BlockedSubject? subject, out string rule)
    {
        (subject, rule) = kind switch
        {
            BlockedKind.User => ReadUser(text),
            BlockedKind.Client => ReadClient(text),
            BlockedKind.Ip => ReadAddress(text),
            BlockedKind.Cidr => ReadNetwork(text),
        };
        return subject is not null;
    }

    private static (BlockedSubject?, string) ReadUser(string text) =>
        UserId.IsValid(text)
            ? (new(BlockedKind.User, text, new(BlockSpace.User, 0, 0, Fingerprints.OfUser(text))), "")
            : (null, UserId.Rule);

    // Values stand in paths too, where a per cent sign could be read in two ways.
    private static (BlockedSubject?, string) ReadClient(string text) =>
        text.Length is > 0 and <= MaxClient && !text.AsSpan().ContainsAnyExceptInRange('!', '~') && !text.Contains('%', StringComparison.Ordinal)
            ? (new(BlockedKind.Client, text, new(BlockSpace.Client, 0, 0, Fingerprints.OfClient(Encoding.ASCII.GetBytes(text)))), "")
            : (null, "1 to 128 visible ASCII characters, without %");

    private static (BlockedSubject?, string) ReadAddress(string text) =>
        TryParse(text, out var address)
            ? (new(BlockedKind.Ip, address.ToString(), BlockKey.Of(address)), "")
            : (null, "an IPv4 address in dotted decimal or an IPv6 address, without zone or port");

    private static (BlockedSubject?, string) ReadNetwork(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var digits = text.AsSpan(slash + 1);
        if (slash < 0 || !IPAddress.TryParse(text.AsSpan(0, slash), out var written) || !TryParse(text[..slash], out var address)
            || digits.Length is 0 or > 3 || (digits.Length > 1 && digits[0] == '0') || !int.TryParse(digits, NumberStyles.None, null, out var length))
            return (null, "a network such as 203.0.113.0/24 or 2001:db8::/32");
        // In its IPv6 spelling the prefix of an IPv4-mapped network is longer by 96 bits.
        var isMapped = written.AddressFamily is AddressFamily.InterNetworkV6 && address.AddressFamily is AddressFamily.InterNetwork;
        if (isMapped) length -= MappedBits;
        var (shortest, longest) = address.AddressFamily is AddressFamily.InterNetwork ? (MinPrefix4, 32) : (MinPrefix6, 128);
        if (length < shortest || length > longest)
            return (null, $"a network with a prefix of /{shortest + (isMapped ? MappedBits : 0)} to /{longest + (isMapped ? MappedBits : 0)}; a shorter one would lock out a part of the world");
        var key = BlockKey.Of(address).Masked(length);
        var network = $"{key.ToAddress()}/{length}";
        return key.ToAddress().Equals(address) ? (new(BlockedKind.Cidr, network, key), "") : (null, $"a network without host bits; this address lies in {network}");
    }

    // The framework also reads 1, 0x7f.1, 010.0.0.1 and [::1]:80. Different people mean different things by each of
    // them.
    private static bool TryParse(string text, [NotNullWhen(true)] out IPAddress? address)
    {
        if (!IPAddress.TryParse(text, out address)) return false;
        if (address.AddressFamily is AddressFamily.InterNetwork) return address.ToString() == text;
        if (text.AsSpan().ContainsAnyExcept(Ip6Characters)) return false;
        if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
        return true;
    }
}

/// <summary>The table of a node that an entry belongs to. The numbers are part of the published form.</summary>
public enum BlockSpace : byte
{
    /// <summary><see cref="Fingerprints.OfUser"/> in the low word.</summary>
    User = 1,

    /// <summary><see cref="Fingerprints.OfClient"/> in the low word.</summary>
    Client = 2,

    /// <summary>An IPv4 address in the low word.</summary>
    Ip4 = 3,

    /// <summary>An IPv6 address in both words.</summary>
    Ip6 = 4,

    /// <summary>An IPv4 network: its address in the low word, and the length of its prefix.</summary>
    Cidr4 = 5,

    /// <summary>An IPv6 network: its address in both words, and the length of its prefix.</summary>
    Cidr6 = 6,
}

/// <summary>A subject in the form that nodes compare: a kind and up to 128 bits.</summary>
/// <param name="Space">The table that the subject belongs to.</param>
/// <param name="Length">Bits of a network's prefix, else 0.</param>
/// <param name="High">The upper word.</param>
/// <param name="Low">The lower word.</param>
public readonly record struct BlockKey(BlockSpace Space, byte Length, ulong High, ulong Low)
{
    /// <summary>The key of one address. An IPv4-mapped IPv6 address has the key of its IPv4 form.</summary>
    public static BlockKey Of(IPAddress address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        if (length == 4) return new(BlockSpace.Ip4, 0, 0, BinaryPrimitives.ReadUInt32BigEndian(bytes));
        var (high, low) = (BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));
        return high == 0 && low >> 32 == 0xFFFF ? new(BlockSpace.Ip4, 0, 0, (uint)low) : new(BlockSpace.Ip6, 0, high, low);
    }

    /// <summary>The network with a prefix of <paramref name="length"/> bits that contains this address.</summary>
    public BlockKey Masked(int length) =>
        Space is BlockSpace.Ip4
            ? new(BlockSpace.Cidr4, (byte)length, 0, length == 0 ? 0 : (uint)Low & uint.MaxValue << (32 - length))
            : new(BlockSpace.Cidr6, (byte)length, Mask(High, length), Mask(Low, length - 64));

    /// <summary>The address, or the address of the network.</summary>
    public IPAddress ToAddress()
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Low);
        return new IPAddress(Space is BlockSpace.Ip4 or BlockSpace.Cidr4 ? bytes[12..] : bytes);
    }

    private static ulong Mask(ulong word, int bits) => bits <= 0 ? 0 : bits >= 64 ? word : word & ulong.MaxValue << (64 - bits);
}
