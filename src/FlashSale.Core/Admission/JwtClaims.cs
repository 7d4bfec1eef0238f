using System.Runtime.InteropServices;
using System.Text.Json;
using FlashSale.Contracts;

namespace FlashSale.Admission;

/// <summary>The issuer, audience and user claim that a token must have, in UTF-8.</summary>
/// <param name="Issuer">The only accepted <c>iss</c>.</param>
/// <param name="Audience">The value that <c>aud</c> must be or contain.</param>
/// <param name="UserClaim">The name of the claim that holds the user id.</param>
internal sealed record JwtExpectations(byte[] Issuer, byte[] Audience, byte[] UserClaim);

/// <summary>The claims of one token that the verifier uses. Its signature has been verified before.</summary>
[StructLayout(LayoutKind.Auto)]
internal struct JwtClaims
{
    // Each character may be written as an escape of six bytes such as \u0041.
    private const int MaxEscapedUser = UserId.MaxLength * 6;

    // No client known anywhere has a longer id, so longer ones need no room on the stack.
    private const int MaxStackClient = 1_024;

    // 9999-12-31T23:59:59Z in seconds. A larger number is a mistake, not a date.
    private const double MaxNumericDate = 253402300799;

    /// <summary>Seconds since the Unix epoch. <see cref="NotBefore"/> is 0 without <c>nbf</c>.</summary>
    public double Expires, NotBefore;

    public bool HasExpires, IssuerMatches, AudienceMatches;

    /// <summary>
    /// Bytes of the user id that were written to the caller's buffer. 0 if the id is absent or breaks the grammar of
    /// user ids.
    /// </summary>
    public int UserLength;

    /// <summary>
    /// Hash of <c>client_id</c>, see <see cref="Fingerprints.OfClient"/>. 0 if the claim is absent, empty or not a
    /// string.
    /// </summary>
    public ulong ClientHash;

    /// <summary>
    /// Reads the claims. False if the payload is not an object of claims. Throws <see cref="JsonException"/> on broken
    /// JSON.
    /// </summary>
    /// <param name="json">The payload.</param>
    /// <param name="room">Working space, see <see cref="JwtMemberNames"/>.</param>
    /// <param name="ours">Issuer, audience, and the claim that names the user.</param>
    /// <param name="user">Receives the user id.</param>
    /// <param name="claims">The claims.</param>
    public static bool TryRead(ReadOnlySpan<byte> json, Span<byte> room, JwtExpectations ours, Span<byte> user, out JwtClaims claims)
    {
        claims = default;
        var reader = new Utf8JsonReader(json);
        var names = new JwtMemberNames(room, json.Length);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return false;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!names.TryAdd(ref reader) || !claims.TryReadMember(ref reader, ours, user))
            {
                return false;
            }
        }

        return !reader.Read();
    }

    private bool TryReadMember(ref Utf8JsonReader reader, JwtExpectations ours, Span<byte> user)
    {
        if (reader.ValueTextEquals(ours.UserClaim))
        {
            reader.Read();
            UserLength = reader.TokenType == JsonTokenType.String ? ReadUser(ref reader, user) : 0;
        }
        else if (reader.ValueTextEquals("exp"u8))
        {
            return HasExpires = TryReadDate(ref reader, out Expires);
        }
        else if (reader.ValueTextEquals("nbf"u8))
        {
            return TryReadDate(ref reader, out NotBefore);
        }
        else if (reader.ValueTextEquals("iss"u8))
        {
            reader.Read();
            IssuerMatches = reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(ours.Issuer);
        }
        else if (reader.ValueTextEquals("aud"u8))
        {
            reader.Read();
            AudienceMatches = ReadAudience(ref reader, ours.Audience);
            return true;
        }
        else if (reader.ValueTextEquals("client_id"u8))
        {
            reader.Read();
            ClientHash = reader.TokenType == JsonTokenType.String ? HashClient(ref reader) : 0;
        }

        // Skips the value if it was not read, which may also be an object in the place of a string.
        reader.Skip();
        return true;
    }

    private static int ReadUser(ref Utf8JsonReader reader, Span<byte> user)
    {
        if (reader.ValueSpan.Length > MaxEscapedUser)
        {
            return 0;
        }

        Span<byte> text = stackalloc byte[MaxEscapedUser];
        text = text[..reader.CopyString(text)];
        if (!UserId.IsValid(text))
        {
            return 0;
        }

        text.CopyTo(user);
        return text.Length;
    }

    private static ulong HashClient(ref Utf8JsonReader reader)
    {
        Span<byte> text = reader.ValueSpan.Length <= MaxStackClient ? stackalloc byte[MaxStackClient] : new byte[reader.ValueSpan.Length];
        text = text[..reader.CopyString(text)];
        return text.IsEmpty ? 0 : Fingerprints.OfClient(text);
    }

    private static bool TryReadDate(ref Utf8JsonReader reader, out double seconds)
    {
        seconds = 0;
        return reader.Read() && reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out seconds)
            && seconds is >= 0 and <= MaxNumericDate;
    }

    private static bool ReadAudience(ref Utf8JsonReader reader, ReadOnlySpan<byte> audience)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            var matches = reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(audience);
            reader.Skip();
            return matches;
        }

        var (found, allStrings) = (false, true);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            allStrings &= reader.TokenType == JsonTokenType.String;
            found |= reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(audience);
            reader.Skip();
        }

        return found && allStrings;
    }
}
