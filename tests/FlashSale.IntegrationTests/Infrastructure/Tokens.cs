using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// Mints shoppers' tokens without the product's code, so that independent code judges the product's verifier.
/// </summary>
public static class Tokens
{
    public const string Issuer = "https://login.test";
    public const string Audience = "flashsale-shoppers";
    public const string KeyId = "test-1";
    public const string Secret = "a-test-secret-of-more-than-thirty-two-bytes";

    /// <summary>A good token.</summary>
    public static string For(string userId) => Mint(Header(), Claims(userId));

    public static Dictionary<string, object?> Header(string algorithm = "HS256", string? keyId = KeyId) =>
        new(StringComparer.Ordinal) { ["alg"] = algorithm, ["typ"] = "JWT", ["kid"] = keyId };

    public static Dictionary<string, object?> Claims(string? userId, int lifetimeSeconds = 3_600)
    {
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        return new(StringComparer.Ordinal) { ["iss"] = Issuer, ["aud"] = Audience, ["sub"] = userId, ["iat"] = now, ["exp"] = now + lifetimeSeconds };
    }

    public static string Mint(Dictionary<string, object?> header, Dictionary<string, object?> claims, string secret = Secret)
    {
        var signed = $"{Part(header)}.{Part(claims)}";
        return $"{signed}.{Base64Url.EncodeToString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.ASCII.GetBytes(signed)))}";
    }

    private static string Part(Dictionary<string, object?> members) =>
        Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(members.Where(m => m.Value is not null).ToDictionary(m => m.Key, m => m.Value, StringComparer.Ordinal)));
}
