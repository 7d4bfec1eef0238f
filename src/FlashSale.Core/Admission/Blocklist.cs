using System.Buffers.Binary;
using System.Net;

namespace FlashSale.Admission;

/// <summary>One change of the blocklist, in its published form.</summary>
/// <param name="Key">The subject of the change.</param>
/// <param name="End">
/// The end of the block, Unix milliseconds. <see cref="NoEnd"/> when it does not end by itself, 0 when it was removed.
/// </param>
public readonly record struct BlockChange(BlockKey Key, long End)
{
    /// <summary>The value of <see cref="End"/> for a block that does not end by itself.</summary>
    public const long NoEnd = long.MaxValue;

    /// <summary>
    /// Bytes of an encoded change: version | space | prefix length | end (8) | high (8) | low (8), big-endian.
    /// </summary>
    public const int Size = 27;

    private const byte Version = 1;

    /// <summary>Encodes the change in <see cref="Size"/> bytes.</summary>
    public byte[] Encode()
    {
        var bytes = new byte[Size];
        (bytes[0], bytes[1], bytes[2]) = (Version, (byte)Key.Space, Key.Length);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(3), End);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(11), Key.High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(19), Key.Low);
        return bytes;
    }

    /// <summary>Decodes a published change.</summary>
    /// <exception cref="FormatException">The bytes are not a change of a version that this code knows.</exception>
    public static BlockChange Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Size || bytes[0] != Version || bytes[1] is < (byte)BlockSpace.User or > (byte)BlockSpace.Cidr6 || bytes[2] > (bytes[1] == (byte)BlockSpace.Cidr4 ? 32 : 128))
            throw new FormatException($"A change of the blocklist takes {Size} bytes of version {Version}; this one is {Convert.ToHexString(bytes)}.");
        var key = new BlockKey((BlockSpace)bytes[1], bytes[2], BinaryPrimitives.ReadUInt64BigEndian(bytes[11..]), BinaryPrimitives.ReadUInt64BigEndian(bytes[19..]));
        return new BlockChange(key, BinaryPrimitives.ReadInt64BigEndian(bytes[3..]));
    }
}

/// <summary>
/// The blocklist of a node. Reading takes no lock and allocates nothing, while one thread applies changes. Networks
/// cost one look-up for each prefix length that the list contains.
/// </summary>
public sealed class Blocklist
{
    private readonly BlockTable _users = new(), _clients = new(), _addresses4 = new(), _addresses6 = new();
    private readonly Networks _networks4 = new(32), _networks6 = new(128);

    /// <summary>Number of entries, including those that have ended and are not forgotten yet.</summary>
    public int Count => _users.Count + _clients.Count + _addresses4.Count + _addresses6.Count + _networks4.Count + _networks6.Count;

    /// <summary>Whether the user, the client or the address is blocked.</summary>
    /// <param name="userHash">The user's <see cref="Contracts.Fingerprints.OfUser"/>.</param>
    /// <param name="clientHash">
    /// The client's <see cref="Contracts.Fingerprints.OfClient"/>, or 0 without a client.
    /// </param>
    /// <param name="address">The address of the request. Null when it is not known.</param>
    /// <param name="now">Unix milliseconds.</param>
    public bool Blocks(ulong userHash, ulong clientHash, IPAddress? address, long now) =>
        _users.Blocks(0, userHash, now) || (clientHash != 0 && _clients.Blocks(0, clientHash, now)) || (address is not null && BlocksAddress(BlockKey.Of(address), now));

    /// <summary>
    /// Applies a change. Changes of one subject must come in the order of their versions, and from one caller at a
    /// time.
    /// </summary>
    /// <param name="change">The change.</param>
    /// <param name="now">Unix milliseconds. Blocks that ended before may be forgotten.</param>
    public void Apply(in BlockChange change, long now)
    {
        var (space, length, high, low) = change.Key;
        switch (space)
        {
            case BlockSpace.User: _users.Set(high, low, change.End, now); break;
            case BlockSpace.Client: _clients.Set(high, low, change.End, now); break;
            case BlockSpace.Ip4: _addresses4.Set(high, low, change.End, now); break;
            case BlockSpace.Ip6: _addresses6.Set(high, low, change.End, now); break;
            case BlockSpace.Cidr4: _networks4.Set(length, high, low, change.End, now); break;
            case BlockSpace.Cidr6: _networks6.Set(length, high, low, change.End, now); break;
        }
    }

    private bool BlocksAddress(in BlockKey address, long now) =>
        address.Space is BlockSpace.Ip4
            ? _addresses4.Blocks(address.High, address.Low, now) || _networks4.Block(address, now)
            : _addresses6.Blocks(address.High, address.Low, now) || _networks6.Block(address, now);

    // The networks of one address family, by the length of their prefix.
    private sealed class Networks(int maxLength)
    {
        private readonly BlockTable?[] _byLength = new BlockTable?[maxLength + 1];
        private volatile byte[] _lengths = [];

        public int Count => _byLength.Sum(table => table?.Count ?? 0);

        public bool Block(in BlockKey address, long now)
        {
            foreach (var length in _lengths)
            {
                var network = address.Masked(length);
                if (_byLength[length]!.Blocks(network.High, network.Low, now)) return true;
            }
            return false;
        }

        public void Set(byte length, ulong high, ulong low, long end, long now)
        {
            var table = _byLength[length] ??= new BlockTable();
            var before = table.Count;
            table.Set(high, low, end, now);
            if (before == 0 != (table.Count == 0)) _lengths = [.. Enumerable.Range(0, _byLength.Length).Where(n => _byLength[n] is { Count: > 0 }).Select(n => (byte)n)];
        }
    }
}
