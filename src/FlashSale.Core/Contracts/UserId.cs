namespace FlashSale.Contracts;

/// <summary>
/// The grammar of user ids. OpenID Connect Core 2 limits <c>sub</c> to 255 ASCII characters, and identity providers use
/// most of them (<c>auth0|5f7c…</c>, addresses with <c>+</c>, base64, URLs). Blanks and control characters are
/// excluded, so an id is one word in a header, a log line and a file. A separator outside this range can never be part
/// of an id.
/// </summary>
public static class UserId
{
    /// <summary>Longest id, in characters. Each character is one byte.</summary>
    public const int MaxLength = 255;

    /// <summary>The grammar in words, for error texts.</summary>
    public const string Rule = "1 to 255 visible ASCII characters";

    /// <summary>Whether a text is a user id.</summary>
    public static bool IsValid(ReadOnlySpan<char> text) => text.Length is >= 1 and <= MaxLength && !text.ContainsAnyExceptInRange('!', '~');

    /// <summary>Whether bytes are the ASCII form of a user id.</summary>
    public static bool IsValid(ReadOnlySpan<byte> text) => text.Length is >= 1 and <= MaxLength && !text.ContainsAnyExceptInRange((byte)'!', (byte)'~');
}
