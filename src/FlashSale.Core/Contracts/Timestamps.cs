namespace FlashSale.Contracts;

/// <summary>Times as the HTTP contract spells them: RFC 3339, UTC, milliseconds.</summary>
public static class Timestamps
{
    /// <summary>Format string of <see cref="DateTimeOffset"/>.</summary>
    public const string Format = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    /// <summary>Formats Unix milliseconds.</summary>
    public static string Text(long unixMilliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(unixMilliseconds).ToString(Format);

    /// <summary>Formats a time.</summary>
    public static string Text(DateTimeOffset time) => time.ToUniversalTime().ToString(Format);
}
