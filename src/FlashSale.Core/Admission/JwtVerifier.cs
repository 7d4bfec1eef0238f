using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>Why a token was accepted or not. Everything but <see cref="Ok"/> is answered by the same 401; the reason is for metrics and logs.</summary>
public enum JwtResult
{
    /// <summary>The token is good; the user id is known.</summary>
    Ok,

    /// <summary>No <c>Authorization</c> header, or one of another scheme than Bearer.</summary>
    Missing,

    /// <summary>Not a compact JWS of a JSON object, or one that asks for an extension (<c>crit</c>), or without a usable <c>exp</c>.</summary>
    Malformed,

    /// <summary>No configured key has this <c>kid</c> and is meant for this <c>alg</c> (<c>none</c> never is).</summary>
    UnknownKey,

    /// <summary>The signature is not the key's.</summary>
    BadSignature,

    /// <summary><c>exp</c> has passed by more than the tolerance.</summary>
    Expired,

    /// <summary><c>nbf</c> is still ahead by more than the tolerance.</summary>
    NotYetValid,

    /// <summary><c>iss</c> is absent or another's.</summary>
    WrongIssuer,

    /// <summary><c>aud</c> is absent or does not name us.</summary>
    WrongAudience,

    /// <summary><c>sub</c> is absent, no string, or no user id (1-64 of A-Z a-z 0-9 . _ : @ -).</summary>
    BadSubject,
}

/// <summary>
/// Verifies shoppers' bearer tokens: RFC 7515 compact form, RFC 7519 claims, RFC 8725 advice. Singleton, thread-safe.
/// It stands on every purchase: with HS256, and a header as that key's last token had it, the user id is all it allocates. Where the RFCs leave a choice it refuses.
/// </summary>
public sealed class JwtVerifier
{
    /// <summary>Longest token that is looked at, in characters.</summary>
    public const int MaxTokenLength = 4096;

    // Longer tokens borrow their buffer. Twice the token: its ASCII bytes, then room for one decoded part at a time.
    private const int MaxStackToken = 1024;

    private static readonly SearchValues<char> TokenChars =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

    private readonly JwtKey[] keys;
    private readonly JwtKey?[] onlyKeyOf = new JwtKey?[Enum.GetValues<JwtAlgorithm>().Length];
    private readonly byte[] issuer;
    private readonly byte[] audience;
    private readonly double skewSeconds;
    private readonly TimeProvider time;

    /// <summary>Loads the keys. Throws <see cref="InvalidSettingException"/>, naming each wrong setting, its value and what is allowed.</summary>
    public JwtVerifier(JwtOptions options, TimeProvider time)
    {
        ArgumentNullException.ThrowIfNull(options);
        keys = JwtKeyLoader.Load(options);
        foreach (var group in keys.GroupBy(key => key.Algorithm))
        {
            onlyKeyOf[(int)group.Key] = group.Count() == 1 ? group.First() : null;
        }

        this.time = time;
        issuer = Encoding.UTF8.GetBytes(options.Issuer);
        audience = Encoding.UTF8.GetBytes(options.Audience);
        skewSeconds = options.ClockSkewSeconds;
    }

    /// <summary>
    /// Judges the value of an <c>Authorization</c> header. <paramref name="userId"/> is the token's <c>sub</c> if the result is
    /// <see cref="JwtResult.Ok"/>, else empty. Never throws, whatever the header holds.
    /// </summary>
    public JwtResult Verify(ReadOnlySpan<char> authorizationHeaderValue, out string userId) => Verify(authorizationHeaderValue, out userId, out _);

    /// <summary>
    /// The same, with the client that the token was issued to (RFC 9068 <c>client_id</c>): <paramref name="clientHash"/> is
    /// <see cref="Contracts.Fingerprints.OfClient"/> of it; 0 if the token names none, or if the result is not <see cref="JwtResult.Ok"/>.
    /// </summary>
    public JwtResult Verify(ReadOnlySpan<char> authorizationHeaderValue, out string userId, out ulong clientHash)
    {
        (userId, clientHash) = ("", 0);
        const string Scheme = "Bearer";
        if (!authorizationHeaderValue.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
            || (authorizationHeaderValue.Length > Scheme.Length && authorizationHeaderValue[Scheme.Length] != ' '))
        {
            return JwtResult.Missing;
        }

        var token = authorizationHeaderValue[Math.Min(Scheme.Length + 1, authorizationHeaderValue.Length)..];
        if (token.Length is 0 or > MaxTokenLength || token.ContainsAnyExcept(TokenChars))
        {
            return JwtResult.Malformed;
        }

        if (token.Length <= MaxStackToken)
        {
            return VerifyToken(token, stackalloc byte[MaxStackToken * 2], out userId, out clientHash);
        }

        var borrowed = ArrayPool<byte>.Shared.Rent(MaxTokenLength * 2);
        var result = VerifyToken(token, borrowed, out userId, out clientHash);
        ArrayPool<byte>.Shared.Return(borrowed);
        return result;
    }

    private JwtResult VerifyToken(ReadOnlySpan<char> token, Span<byte> buffer, out string userId, out ulong clientHash)
    {
        (userId, clientHash) = ("", 0);
        Ascii.FromUtf16(token, buffer, out var length);
        ReadOnlySpan<byte> bytes = buffer[..length];
        var scratch = buffer[length..];
        var firstDot = bytes.IndexOf((byte)'.');
        var lastDot = bytes.LastIndexOf((byte)'.');
        if (firstDot <= 0 || lastDot == firstDot || bytes[(firstDot + 1)..lastDot].Contains((byte)'.'))
        {
            return JwtResult.Malformed;
        }

        try
        {
            var header = bytes[..firstDot];
            var key = FindUsual(header);
            if (key is null && FindKey(header, scratch, out key) is not JwtResult.Ok and var refusal)
            {
                return refusal;
            }

            if (!TryDecode(bytes[(lastDot + 1)..], scratch, out var signature))
            {
                return JwtResult.Malformed;
            }

            // Nothing of the payload is looked at before its signature holds.
            if (!key!.Verify(bytes[..lastDot], signature))
            {
                return JwtResult.BadSignature;
            }

            key.NoteHeader(header);
            return JudgeClaims(bytes[(firstDot + 1)..lastDot], scratch, out userId, out clientHash);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The reader throws the latter on text that is no UTF-8 or half a surrogate pair.
            return JwtResult.Malformed;
        }
    }

    private JwtResult FindKey(ReadOnlySpan<byte> encodedHeader, Span<byte> scratch, out JwtKey? key)
    {
        key = null;
        if (!TryDecode(encodedHeader, scratch, out var json) || !JwtHeader.TryRead(json, keys, out var header))
        {
            return JwtResult.Malformed;
        }

        if (header.Algorithm is not { } algorithm)
        {
            return JwtResult.UnknownKey;
        }

        // A token without kid must not make us guess among keys.
        key = header.HasKid ? header.Key : onlyKeyOf[(int)algorithm];

        // The key decides what it is used for: an RSA public key never becomes an HMAC secret.
        return key?.Algorithm == algorithm ? JwtResult.Ok : JwtResult.UnknownKey;
    }

    // Nearly all tokens begin with the same bytes; what they mean was found out before.
    private JwtKey? FindUsual(ReadOnlySpan<byte> encodedHeader)
    {
        foreach (var key in keys)
        {
            if (key.IsUsualHeader(encodedHeader))
            {
                return key;
            }
        }

        return null;
    }

    private JwtResult JudgeClaims(ReadOnlySpan<byte> encodedPayload, Span<byte> scratch, out string userId, out ulong clientHash)
    {
        (userId, clientHash) = ("", 0);
        Span<byte> subject = stackalloc byte[JwtClaims.MaxSubject];
        if (!TryDecode(encodedPayload, scratch, out var json)
            || !JwtClaims.TryRead(json, issuer, audience, subject, out var claims)
            || !claims.HasExpires)
        {
            return JwtResult.Malformed;
        }

        var now = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds;
        var refusal =
            now >= claims.Expires + skewSeconds ? JwtResult.Expired
            : now < claims.NotBefore - skewSeconds ? JwtResult.NotYetValid
            : !claims.IssuerMatches ? JwtResult.WrongIssuer
            : !claims.AudienceMatches ? JwtResult.WrongAudience
            : claims.SubjectLength == 0 ? JwtResult.BadSubject
            : JwtResult.Ok;
        if (refusal == JwtResult.Ok)
        {
            userId = Encoding.ASCII.GetString(subject[..claims.SubjectLength]);
            clientHash = claims.ClientHash;
        }

        return refusal;
    }

    /// <summary>Decodes canonical base64url only: one token has one spelling, so nobody can mint variants of a good one.</summary>
    private static bool TryDecode(ReadOnlySpan<byte> encoded, Span<byte> scratch, out ReadOnlySpan<byte> decoded)
    {
        // The bits of the last character that encode nothing must be zero. The alphabet has been checked: no whitespace, no padding.
        var canonical = (encoded.Length % 4) switch
        {
            0 => true,
            2 => "AQgw"u8.Contains(encoded[^1]),
            3 => "AEIMQUYcgkosw048"u8.Contains(encoded[^1]),
            _ => false,
        };
        var written = 0;
        var good = canonical && Base64Url.DecodeFromUtf8(encoded, scratch, out _, out written) == OperationStatus.Done;
        decoded = scratch[..written];
        return good;
    }
}
