using System.Globalization;
using System.Text.RegularExpressions;

namespace FlashSale.Contracts;

/// <summary>
/// Times as the HTTP contract spells them. They are written in UTC with milliseconds, and read in any form of RFC 3339.
/// </summary>
public static partial class Timestamps
{
    /// <summary>Format string for a UTC <see cref="DateTimeOffset"/>, with milliseconds.</summary>
    public const string Format = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    /// <summary>Describes in error messages the texts that <see cref="TryRead"/> takes.</summary>
    public const string Rule = "a time as of RFC 3339 from 1970 to 9999, such as 2026-11-11T12:00:00Z";

    // The bounds keep the stores in agreement: Npgsql takes the first and the last moment that .NET knows for infinity.
    private const long Last = 253_402_300_799_999;

    /// <summary>Formats Unix milliseconds.</summary>
    public static string Text(long unixMilliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(unixMilliseconds).ToString(Format);

    /// <summary>Formats a time.</summary>
    public static string Text(DateTimeOffset time) => time.ToUniversalTime().ToString(Format);

    /// <summary>Reads a time from 1970 to 9999 as Unix milliseconds. Returns false for any other text.</summary>
    public static bool TryRead(string text, out long unixMilliseconds)
    {
        unixMilliseconds = 0;
        if (!Rfc3339().IsMatch(text) || !DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, out var time)) return false;
        var read = time.ToUnixTimeMilliseconds();
        if (read is < 0 or > Last) return false;
        unixMilliseconds = read;
        return true;
    }

    [GeneratedRegex(@"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\z", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1_000)]
    private static partial Regex Rfc3339();
}
