using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Platform;

/// <summary>
/// The Idempotency-Key header (IETF draft-ietf-httpapi-idempotency-key-header): 1 to 255 visible ASCII characters, bare
/// or as a quoted string (RFC 9651, section 3.3.3). Both spellings are the same key.
/// </summary>
public static class IdempotencyKey
{
    /// <summary>Longest key, unquoted.</summary>
    public const int MaxLength = 255;

    /// <summary>The header's name.</summary>
    public const string Header = "Idempotency-Key";

    /// <summary>The problem of a request without the header.</summary>
    public static readonly Problem Missing = new(400, "idempotency_key_missing", "The header Idempotency-Key is required.");

    /// <summary>The errors of a request with a header that is not a key.</summary>
    public static readonly IReadOnlyList<ProblemError> Invalid =
        [new(Header, "must be 1 to 255 visible ASCII characters, bare or as a quoted string, given once")];

    /// <summary>Reads the key.</summary>
    /// <returns>True with the key. Otherwise false, and <paramref name="key"/> is empty if the header is missing, null
    /// if it is not a key.</returns>
    public static bool TryRead(StringValues header, [NotNullWhen(true)] out string? key)
    {
        key = header.Count == 1 ? header[0] : header.Count == 0 ? "" : null;
        if (string.IsNullOrEmpty(key)) return false;
        if (key[0] == '"') key = Unquote(key);
        if (key is { Length: > 0 and <= MaxLength } && !key.AsSpan().ContainsAnyExceptInRange('!', '~')) return true;
        key = null;
        return false;
    }

    private static string? Unquote(string text)
    {
        if (text.Length < 3 || text[^1] != '"') return null;
        var inner = text.AsSpan(1, text.Length - 2);
        if (!inner.ContainsAny('\\', '"')) return inner.ToString();
        var key = new System.Text.StringBuilder(inner.Length);
        for (var i = 0; i < inner.Length; i++)
        {
            if (inner[i] == '"') return null;
            if (inner[i] == '\\' && (++i == inner.Length || inner[i] is not ('\\' or '"'))) return null;
            key.Append(inner[i]);
        }
        return key.ToString();
    }
}
