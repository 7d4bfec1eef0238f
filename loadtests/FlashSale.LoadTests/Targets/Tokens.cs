using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace FlashSale.LoadTests.Targets;

/// <summary>Makes shoppers' tokens (JWT, HS256) by hand. They are valid for a day.</summary>
public sealed class Tokens(Target target)
{
    private const int LifetimeSeconds = 86_400;

    private readonly byte[] _secret = Encoding.UTF8.GetBytes(target.JwtKey);
    private readonly string _head = Encode($$"""{"alg":"HS256","typ":"JWT","kid":"{{target.JwtKid}}"}""");
    private readonly long _now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Returns a valid token.</summary>
    /// <param name="userId">1-64 characters that need no escape in JSON.</param>
    public string For(string userId) => Sign(userId, _secret);

    /// <summary>Returns a token from a forger that does not know the secret.</summary>
    public string Forged(string userId) => Sign(userId, "not-the-secret-of-anything-but-long"u8.ToArray());

    private string Sign(string userId, byte[] secret)
    {
        var signed = $"{_head}.{Encode($$"""{"iss":"{{target.JwtIssuer}}","aud":"{{target.JwtAudience}}","sub":"{{userId}}","iat":{{_now}},"exp":{{_now + LifetimeSeconds}}}""")}";
        Span<byte> signature = stackalloc byte[32];
        HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(signed), signature);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
