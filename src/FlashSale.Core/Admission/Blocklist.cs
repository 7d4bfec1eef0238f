using System.Buffers.Binary;
using System.Net;

namespace FlashSale.Admission;

/// <summary>One change of the blocklist, as it is published.</summary>
/// <param name="Key">Whom it is about.</param>
/// <param name="End">When the block ends, Unix milliseconds; <see cref="NoEnd"/> when it does not, 0 when it was removed.</param>
public readonly record struct BlockChange(BlockKey Key, long End)
{
    /// <summary>The end of a block that has none.</summary>
    public const long NoEnd = long.MaxValue;

    /// <summary>Bytes of an encoded change: version | space | prefix length | end (8) | high (8) | low (8), big-endian.</summary>
    public const int Size = 27;

    private const byte Version = 1;

    /// <summary>Encodes it.</summary>
    public byte[] Encode()
    {
        var bytes = new byte[Size];
        (bytes[0], bytes[1], bytes[2]) = (Version, (byte)Key.Space, Key.Length);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(3), End);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(11), Key.High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(19), Key.Low);
        return bytes;
    }

    /// <summary>Decodes it.</summary>
    /// <exception cref="FormatException">It is none that this code knows.</exception>
    public static BlockChange Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Size || bytes[0] != Version || bytes[1] is < (byte)BlockSpace.User or > (byte)BlockSpace.Cidr6 || bytes[2] > (bytes[1] == (byte)BlockSpace.Cidr4 ? 32 : 128))
            throw new FormatException($"A change of the blocklist takes {Size} bytes of version {Version}; this one is {Convert.ToHexString(bytes)}.");
        var key = new BlockKey((BlockSpace)bytes[1], bytes[2], BinaryPrimitives.ReadUInt64BigEndian(bytes[11..]), BinaryPrimitives.ReadUInt64BigEndian(bytes[19..]));
        return new BlockChange(key, BinaryPrimitives.ReadInt64BigEndian(bytes[3..]));
    }
}

/// <summary>
/// Who is blocked, as a node knows it. Reading takes no lock and allocates nothing; one thread applies changes meanwhile.
/// Networks are looked up once for each prefix length that any of them has.
/// </summary>
public sealed class Blocklist
{
    private readonly BlockTable _users = new(), _clients = new(), _addresses4 = new(), _addresses6 = new();
    private readonly Networks _networks4 = new(32), _networks6 = new(128);

    /// <summary>Entries, those included whose end has passed and that have not vanished yet.</summary>
    public int Count => _users.Count + _clients.Count + _addresses4.Count + _addresses6.Count + _networks4.Count + _networks6.Count;

    /// <summary>Whether any of these is blocked.</summary>
    /// <param name="userHash"><see cref="Contracts.Fingerprints.OfUser"/>.</param>
    /// <param name="clientHash"><see cref="Contracts.Fingerprints.OfClient"/>; 0 when there is none.</param>
    /// <param name="address">Where the request comes from; null when that is not known.</param>
    /// <param name="now">Unix milliseconds.</param>
    public bool Blocks(ulong userHash, ulong clientHash, IPAddress? address, long now) =>
        _users.Blocks(0, userHash, now) || (clientHash != 0 && _clients.Blocks(0, clientHash, now)) || (address is not null && BlocksAddress(BlockKey.Of(address), now));

    /// <summary>Applies a change. Changes of one subject come in the order of their versions; one caller at a time.</summary>
    /// <param name="change">The change.</param>
    /// <param name="now">Unix milliseconds; what ended before may be forgotten.</param>
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

    // The networks of one family by the length of their prefix.
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
