using System.Buffers.Binary;
using System.IO.Compression;

namespace FlashSale.Api.Sales;

/// <summary>
/// A text in parts that is compressed once, as gzip (RFC 1952). A few bytes can be put between the parts without
/// compressing anything again. Each part is its own run of deflate blocks (RFC 1951), which ends at a byte and refers
/// to nothing before it. The bytes between are a stored block, and the checksums are combined.
/// </summary>
public sealed class SplicedGzip
{
    private const uint Polynomial = 0xEDB88320;
    private const uint One = 0x80000000;

    private static readonly byte[] Head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    private static readonly byte[] LastBlock = [1, 0, 0, 0xff, 0xff];
    private static readonly uint[] Table = MakeTable();

    private readonly (byte[] Deflated, int Length, uint Checksum, uint Shift)[] _parts;

    /// <summary>Compresses each part on its own.</summary>
    public SplicedGzip(IEnumerable<ReadOnlyMemory<byte>> parts) =>
        _parts = [.. parts.Select(part => (Deflate(part.Span), part.Length, Checksum(part.Span), Shift(part.Length)))];

    /// <summary>Returns the gzip of all parts, with these bytes between each two of them.</summary>
    /// <param name="between">The bytes, at most 65,535.</param>
    public List<ReadOnlyMemory<byte>> With(byte[] between)
    {
        var stored = new byte[5 + between.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(stored.AsSpan(1), (ushort)between.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(stored.AsSpan(3), (ushort)~between.Length);
        between.CopyTo(stored, 5);
        var (checksum, shift) = (Checksum(between), Shift(between.Length));

        var all = new List<ReadOnlyMemory<byte>>(2 * _parts.Length + 2) { Head, _parts[0].Deflated };
        var (sum, length) = (_parts[0].Checksum, (long)_parts[0].Length);
        foreach (var part in _parts.AsSpan(1))
        {
            all.Add(stored);
            all.Add(part.Deflated);
            sum = Multiply(part.Shift, Multiply(shift, sum) ^ checksum) ^ part.Checksum;
            length += between.Length + part.Length;
        }
        var tail = new byte[LastBlock.Length + 8];
        LastBlock.CopyTo(tail, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(tail.AsSpan(LastBlock.Length), sum);
        BinaryPrimitives.WriteUInt32LittleEndian(tail.AsSpan(LastBlock.Length + 4), (uint)length);
        all.Add(tail);
        return all;
    }

    private static byte[] Deflate(ReadOnlySpan<byte> part)
    {
        using var bytes = new MemoryStream();
        using var deflate = new DeflateStream(bytes, CompressionLevel.Optimal, leaveOpen: true);
        deflate.Write(part);
        // The flush ends the part at a byte, with an empty stored block. Disposing the stream adds the last block too
        // late for the array, because here one last block stands at the end of all parts.
        deflate.Flush();
        return bytes.ToArray();
    }

    // CRC-32 as in RFC 1952, section 8.
    private static uint Checksum(ReadOnlySpan<byte> bytes)
    {
        var sum = uint.MaxValue;
        foreach (var value in bytes) sum = Table[(byte)(sum ^ value)] ^ (sum >> 8);
        return ~sum;
    }

    private static uint[] MakeTable()
    {
        var table = new uint[256];
        for (var i = 0u; i < 256; i++)
        {
            table[i] = i;
            for (var bit = 0; bit < 8; bit++) table[i] = (table[i] & 1) != 0 ? (table[i] >> 1) ^ Polynomial : table[i] >> 1;
        }
        return table;
    }

    // The factor for a checksum when this many bytes follow: x^(8 length) modulo the polynomial.
    private static uint Shift(int length)
    {
        var (result, power) = (One, One >> 1);
        for (var bits = 8L * length; bits > 0; bits >>= 1)
        {
            if ((bits & 1) != 0) result = Multiply(power, result);
            power = Multiply(power, power);
        }
        return result;
    }

    // Multiplies two polynomials over GF(2) modulo the polynomial of CRC-32. The lowest bit is the highest power.
    private static uint Multiply(uint a, uint b)
    {
        var product = 0u;
        for (var bit = One; bit != 0; bit >>= 1)
        {
            if ((a & bit) != 0) product ^= b;
            b = (b & 1) != 0 ? (b >> 1) ^ Polynomial : b >> 1;
        }
        return product;
    }
}
