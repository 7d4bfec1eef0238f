using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;
using FlashSale.Contracts;

namespace FlashSale.Admission;

/// <summary>The claims of one token whose signature has been verified, as far as they matter.</summary>
[StructLayout(LayoutKind.Auto)]
internal struct JwtClaims
{
    /// <summary>Longest user id, in characters.</summary>
    public const int MaxSubject = 64;

    // A character may be written as \u0041.
    private const int MaxEscapedSubject = MaxSubject * 6;

    // 9999-12-31T23:59:59Z in seconds: what lies beyond is no date but a mistake.
    private const double MaxNumericDate = 253402300799;

    private static readonly SearchValues<byte> SubjectBytes =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-"u8);

    /// <summary>Seconds since the epoch; <see cref="NotBefore"/> is 0 without <c>nbf</c>.</summary>
    public double Expires, NotBefore;

    public bool HasExpires, IssuerMatches, AudienceMatches;

    /// <summary>Bytes of the subject written to the caller's buffer; 0 if it is absent or breaks the grammar of user ids.</summary>
    public int SubjectLength;

    /// <summary>Hash of <c>client_id</c>, see <see cref="Fingerprints.OfClient"/>; 0 if it is absent, empty or no string.</summary>
    public ulong ClientHash;

    /// <summary>False if this is no object of claims. Throws <see cref="JsonException"/> on broken JSON.</summary>
    public static bool TryRead(ReadOnlySpan<byte> json, ReadOnlySpan<byte> issuer, ReadOnlySpan<byte> audience, Span<byte> subject, out JwtClaims claims)
    {
        claims = default;
        var reader = new Utf8JsonReader(json);
        var names = default(JwtMemberNames);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return false;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!names.TryAdd(ref reader) || !claims.TryReadMember(ref reader, issuer, audience, subject))
            {
                return false;
            }
        }

        return !reader.Read();
    }

    private bool TryReadMember(ref Utf8JsonReader reader, ReadOnlySpan<byte> issuer, ReadOnlySpan<byte> audience, Span<byte> subject)
    {
        if (reader.ValueTextEquals("sub"u8))
        {
            reader.Read();
            SubjectLength = reader.TokenType == JsonTokenType.String ? ReadSubject(ref reader, subject) : 0;
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
            IssuerMatches = reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(issuer);
        }
        else if (reader.ValueTextEquals("aud"u8))
        {
            reader.Read();
            AudienceMatches = ReadAudience(ref reader, audience);
            return true;
        }
        else if (reader.ValueTextEquals("client_id"u8))
        {
            reader.Read();
            ClientHash = reader.TokenType == JsonTokenType.String ? HashClient(ref reader) : 0;
        }

        // Steps over what was not read, also where an object stands in a string's place.
        reader.Skip();
        return true;
    }

    private static int ReadSubject(ref Utf8JsonReader reader, Span<byte> subject)
    {
        if (reader.ValueSpan.Length > MaxEscapedSubject)
        {
            return 0;
        }

        Span<byte> text = stackalloc byte[MaxEscapedSubject];
        text = text[..reader.CopyString(text)];
        if (text.Length > MaxSubject || text.ContainsAnyExcept(SubjectBytes))
        {
            return 0;
        }

        text.CopyTo(subject);
        return text.Length;
    }

    private static ulong HashClient(ref Utf8JsonReader reader)
    {
        // A claim is never longer than the token that holds it.
        Span<byte> text = stackalloc byte[reader.ValueSpan.Length];
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
