using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Admission;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Admission;

/// <summary>Makes tokens, good and forged, and the verifier that judges them.</summary>
internal static class JwtForge
{
    public const string Kid = "main";
    public const string Secret = "a shared secret of more than thirty-two bytes";
    public const string GoodHeader = """{"alg":"HS256","typ":"JWT","kid":"main"}""";
    public static readonly DateTimeOffset Now = new(2026, 11, 11, 0, 0, 0, TimeSpan.Zero);
    public static readonly long NowSeconds = Now.ToUnixTimeSeconds();

    public static string GoodPayload { get; } =
        $$"""{"iss":"https://id.example","aud":"flashsale","sub":"user-1","iat":{{NowSeconds}},"exp":{{NowSeconds + 600}}}""";

    public static JwtOptions Options(params JwtKeyOptions[] keys)
    {
        var options = new JwtOptions { Issuer = "https://id.example", Audience = "flashsale" };
        foreach (var key in keys)
        {
            options.Keys.Add(key);
        }

        return options;
    }

    public static JwtVerifier Verifier(params JwtKeyOptions[] keys) =>
        new(Options(keys.Length > 0 ? keys : [new() { Kid = Kid, Secret = Secret }]), new FakeTimeProvider(Now));

    public static string Token(string payload, string header = GoodHeader, string secret = Secret) =>
        Token(header, payload, input => HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), input));

    public static string Token(string header, string payload, Func<byte[], byte[]> sign)
    {
        var input = Encode(header) + "." + Encode(payload);
        return input + "." + Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(input)));
    }

    public static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    public static JwtResult Judge(this JwtVerifier verifier, string token)
    {
        var result = verifier.Verify("Bearer " + token, out var userId);
        Assert.Equal(result == JwtResult.Ok, userId.Length > 0);
        return result;
    }

    public static string TempFile(string text)
    {
        var path = Path.GetTempFileName();
        File.WriteAllText(path, text);
        return path;
    }
}
