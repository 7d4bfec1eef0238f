using System.Text;

namespace FlashSale.LoadTests.Engine;

/// <summary>Why a request has no answer.</summary>
public enum WireFailure
{
    /// <summary>It has one.</summary>
    None,

    /// <summary>No connection was had: nothing was sent, nothing can have happened.</summary>
    NotSent,

    /// <summary>The connection broke before the answer was whole.</summary>
    Broken,

    /// <summary>The time was over; what was asked for may have happened.</summary>
    TimedOut,

    /// <summary>The caller gave up; what was asked for may have happened.</summary>
    Cancelled,

    /// <summary>What came is no HTTP/1.1 answer, or one that is too large.</summary>
    Malformed,
}

/// <summary>An answer, or why there is none.</summary>
/// <param name="Status">Of HTTP; 0: no answer.</param>
/// <param name="Body">Decoded from chunks where it came in such. It stays valid.</param>
/// <param name="Head">Status line and header fields, without the empty line. It stays valid.</param>
/// <param name="Failure">Why there is no answer.</param>
public readonly record struct WireAnswer(int Status, ReadOnlyMemory<byte> Body, ReadOnlyMemory<byte> Head, WireFailure Failure)
{
    internal static WireAnswer None(WireFailure failure) => new(0, default, default, failure);

    /// <summary>Whether nothing is known of what was asked for: it may have happened.</summary>
    public bool IsUnknown => Failure is not (WireFailure.None or WireFailure.NotSent);

    /// <summary>A header field's value, without the spaces around it; empty when it is not there (names in any case).</summary>
    public ReadOnlySpan<byte> Header(ReadOnlySpan<byte> name)
    {
        var rest = Head.Span;
        while (rest.IndexOf("\r\n"u8) is var end and >= 0)
        {
            rest = rest[(end + 2)..];
            if (rest.Length > name.Length && rest[name.Length] == ':' && Ascii.EqualsIgnoreCase(rest[..name.Length], name))
            {
                var value = rest[(name.Length + 1)..];
                var length = value.IndexOf("\r\n"u8);
                return value[..(length < 0 ? value.Length : length)].Trim((byte)' ');
            }
        }
        return default;
    }

    /// <summary>A header field's value as text; null when it is not there.</summary>
    public string? HeaderText(string name) => Header(Encoding.ASCII.GetBytes(name)) is { IsEmpty: false } value ? Encoding.Latin1.GetString(value) : null;

    /// <summary>The body as text.</summary>
    public string Text => Encoding.UTF8.GetString(Body.Span);
}
