using FsCheck;
using FsCheck.Fluent;
using Microsoft.FSharp.Core;

namespace FlashSale.UnitTests.Fuzzing;

/// <summary>Makes inputs that are near to good ones. They are the same in every run.</summary>
internal static class Fuzz
{
    private const int MostChanges = 4;

    /// <summary>Bytes with a meaning for at least one of the parsers.</summary>
    private static readonly byte[] Telling = [.. "{}[]\",:\\/|.-+eE0129u\n\r\t =_"u8, 0, 0x7F, 0x80, 0xBF, 0xC3, 0xED, 0xEF, 0xFF];

    private static readonly Gen<byte> Letters = Gen.OneOf(Gen.Elements(Telling), Gen.Choose(0, 255).Select(value => (byte)value));

    /// <summary>
    /// Runs a property on good inputs with a few bytes changed, left out, put in or repeated, and on any bytes at all.
    /// </summary>
    /// <param name="good">Good inputs.</param>
    /// <param name="holds">Throws where the property does not hold.</param>
    /// <param name="cases">Number of inputs.</param>
    public static void Run(IReadOnlyList<byte[]> good, Action<byte[]> holds, int cases = 2_000)
    {
        var near = from one in Gen.Elements(good.ToArray())
                   from count in Gen.Choose(0, MostChanges)
                   from changes in Gen.ArrayOf(Change(), count)
                   select changes.Aggregate(one, (bytes, change) => change(bytes));
        var any = Gen.ArrayOf(Letters);
        Check.One(Fixed(cases), Prop.ForAll(Gen.Frequency((9, near), (1, any)).ToArbitrary(), holds));
    }

    /// <summary>Returns the settings of a run that is the same every time.</summary>
    public static Config Fixed(int cases) =>
        Config.QuickThrowOnFailure.WithMaxTest(cases).WithReplay(FSharpOption<Replay>.Some(new Replay(new Rnd(20_261_130), FSharpOption<int>.None)));

    private static Gen<Func<byte[], byte[]>> Change() =>
        from kind in Gen.Choose(0, 4)
        from at in Gen.Choose(0, int.MaxValue)
        from length in Gen.Choose(1, 12)
        from letter in Letters
        select new Func<byte[], byte[]>(bytes => Changed(bytes, kind, at, length, letter));

    private static byte[] Changed(byte[] bytes, int kind, int at, int length, byte letter)
    {
        if (bytes.Length == 0) return [letter];
        var start = at % bytes.Length;
        var end = Math.Min(start + length, bytes.Length);
        return kind switch
        {
            0 => [.. bytes[..start], letter, .. bytes[(start + 1)..]],
            1 => [.. bytes[..start], letter, .. bytes[start..]],
            2 => [.. bytes[..start], .. bytes[end..]],
            3 => [.. bytes[..end], .. bytes[start..end], .. bytes[end..]],
            _ => bytes[..start],
        };
    }
}
