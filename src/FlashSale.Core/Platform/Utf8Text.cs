using System.Buffers;

namespace FlashSale.Platform;

/// <summary>
/// Text in UTF-8 as clients send it. Some clients begin it with a byte order mark, which says nothing in UTF-8.
/// </summary>
public static class Utf8Text
{
    private static ReadOnlySpan<byte> Mark => [0xEF, 0xBB, 0xBF];

    /// <summary>The text without the mark.</summary>
    public static ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> text) => text.StartsWith(Mark) ? text[Mark.Length..] : text;

    /// <inheritdoc cref="WithoutMark(ReadOnlySpan{byte})" />
    public static ReadOnlyMemory<byte> WithoutMark(ReadOnlyMemory<byte> text) => text.Span.StartsWith(Mark) ? text[Mark.Length..] : text;

    /// <inheritdoc cref="WithoutMark(ReadOnlySpan{byte})" />
    public static ReadOnlySequence<byte> WithoutMark(in ReadOnlySequence<byte> text)
    {
        if (text.FirstSpan is { IsEmpty: false } first && first[0] != Mark[0]) return text;
        var reader = new SequenceReader<byte>(text);
        return reader.IsNext(Mark, advancePast: true) ? reader.UnreadSequence : text;
    }
}
