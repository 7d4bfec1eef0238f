using System.Text;

namespace FlashSale.LoadTests.Engine;

/// <summary>The reason why a request has no answer.</summary>
public enum WireFailure
{
    /// <summary>The request has an answer.</summary>
    None,

    /// <summary>No connection was free or could be made. Nothing was sent, so nothing can have happened.</summary>
    NotSent,

    /// <summary>The connection broke before the answer was whole.</summary>
    Broken,

    /// <summary>The time was over. The server may have done the work all the same.</summary>
    TimedOut,

    /// <summary>The caller gave up. The server may have done the work all the same.</summary>
    Cancelled,

    /// <summary>The bytes received are no HTTP/1.1 answer, or the answer is too large.</summary>
    Malformed,
}

/// <summary>An answer, or the reason why it is missing.</summary>
/// <param name="Status">HTTP status, 0 without an answer.</param>
/// <param name="Body">The body, decoded if it came in chunks. The memory stays valid.</param>
/// <param name="Head">Status line and header fields, without the empty line. The memory stays valid.</param>
/// <param name="Failure">The reason why the answer is missing.</param>
public readonly record struct WireAnswer(int Status, ReadOnlyMemory<byte> Body, ReadOnlyMemory<byte> Head, WireFailure Failure)
{
    internal static WireAnswer None(WireFailure failure) => new(0, default, default, failure);

    /// <summary>Whether the server may have done the work although no answer tells so.</summary>
    public bool IsUnknown => Failure is not (WireFailure.None or WireFailure.NotSent);

    /// <summary>
    /// Returns the value of a header field without the spaces around it, or empty when the field is missing. Names
    /// match in any case.
    /// </summary>
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

    /// <summary>Returns the value of a header field as text, or null when the field is missing.</summary>
    public string? HeaderText(string name) => Header(Encoding.ASCII.GetBytes(name)) is { IsEmpty: false } value ? Encoding.Latin1.GetString(value) : null;

    /// <summary>The body as UTF-8 text.</summary>
    public string Text => Encoding.UTF8.GetString(Body.Span);
}
