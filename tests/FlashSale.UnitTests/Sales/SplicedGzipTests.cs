using System.IO.Compression;
using System.Text;
using FlashSale.Api.Sales;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Sales;

/// <summary>
/// Pages are compressed once, and each answer puts its time in. A reader of gzip must find exactly that text.
/// </summary>
public sealed class SplicedGzipTests
{
    [Fact]
    public void Whatever_the_parts_and_the_bytes_between_them_a_gzip_reader_finds_them_in_turn() =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300), Prop.ForAll(Parts().ToArbitrary(), parts =>
        {
            var gzip = new SplicedGzip(parts.Select(part => (ReadOnlyMemory<byte>)part));
            // The loop runs twice with other bytes, because the kept parts must not depend on them.
            foreach (var between in (string[])["2026-11-30T12:00:00.000Z", "2027-01-01T00:00:00.123Z"])
                Assert.Equal(string.Join(between, parts.Select(part => Encoding.Latin1.GetString(part))), Encoding.Latin1.GetString(Read(gzip.With(Encoding.ASCII.GetBytes(between)))));
        }));

    [Fact]
    public void A_byte_that_differs_is_noticed_by_the_reader()
    {
        var gzip = new SplicedGzip([Encoding.ASCII.GetBytes("{\"serverTime\":\""), Encoding.ASCII.GetBytes("\"}")]);
        var pieces = gzip.With(Encoding.ASCII.GetBytes("2026-11-30T12:00:00.000Z"));
        var all = pieces.SelectMany(piece => piece.ToArray()).ToArray();
        var inTheTime = pieces[0].Length + pieces[1].Length + 10;
        all[inTheTime] ^= 1;
        Assert.Throws<InvalidDataException>(() => Read([all]));
    }

    // The text is repetitive, so that references into other parts would pay.
    private static Gen<byte[][]> Parts() =>
        Gen.ListOf(from words in Gen.ListOf(Gen.Elements("sku-1", "\"price\":", "2026-11-30T12:00:00.000Z", "{", "}", "low", "\u00ff\u0001"))
                   from last in Gen.Elements("a", "bcd")
                   select Encoding.Latin1.GetBytes(string.Concat(words) + last))
            .Where(parts => parts.Count > 0).Select(parts => parts.ToArray());

    private static byte[] Read(IReadOnlyList<ReadOnlyMemory<byte>> pieces)
    {
        using var all = new MemoryStream(pieces.SelectMany(piece => piece.ToArray()).ToArray());
        using var reader = new GZipStream(all, CompressionMode.Decompress);
        using var text = new MemoryStream();
        reader.CopyTo(text);
        return text.ToArray();
    }
}
