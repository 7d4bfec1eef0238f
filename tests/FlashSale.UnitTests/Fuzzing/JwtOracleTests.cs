using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.Admission;
using FlashSale.UnitTests.Admission;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace FlashSale.UnitTests.Fuzzing;

/// <summary>
/// Compares the verifier with Microsoft's. A token that ours accepts must be good there as well, and of the same user.
/// Ours may refuse more.
/// </summary>
public sealed class JwtOracleTests
{
    private const int FewestAccepted = 300;

    private static readonly JwtVerifier Ours = JwtForge.Verifier();
    private static readonly JsonWebTokenHandler Library = new() { MapInboundClaims = false };
    private static readonly byte[] GoodHeader = Encoding.UTF8.GetBytes(JwtForge.GoodHeader);
    private static readonly byte[] GoodPayload = Encoding.UTF8.GetBytes(JwtForge.GoodPayload);

    private static readonly TokenValidationParameters Parameters = new()
    {
        ValidIssuer = "https://id.example",
        ValidAudience = "flashsale",
        ValidAlgorithms = ["HS256"],
        IssuerSigningKey = new SymmetricSecurityKey(Encoding.UTF8.GetBytes(JwtForge.Secret)) { KeyId = JwtForge.Kid },
        TryAllIssuerSigningKeys = true,
        LifetimeValidator = (notBefore, expires, _, _) =>
            JwtForge.Now < expires + TimeSpan.FromSeconds(30) && (notBefore is null || JwtForge.Now >= notBefore - TimeSpan.FromSeconds(30)),
    };

    [Fact]
    public async Task Every_token_that_ours_accepts_the_library_accepts_and_reads_the_same_user_from()
    {
        var accepted = Accepted(token => Ours.Verify("Bearer " + token, out var user) is JwtResult.Ok ? user : null);
        Assert.True(accepted.Count >= FewestAccepted, $"Only {accepted.Count} tokens were good: the run says nothing.");
        await AssertTheLibraryAgreesAsync(accepted);
    }

    [Fact]
    public async Task A_verifier_that_checks_no_signature_is_caught()
    {
        var accepted = Accepted(token => token.Split('.') is [_, var payload, _] && Decoded(payload).Contains("user-1", StringComparison.Ordinal) ? "user-1" : null);
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => AssertTheLibraryAgreesAsync(accepted));
    }

    [Fact]
    public async Task A_verifier_that_reads_another_user_is_caught() =>
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => AssertTheLibraryAgreesAsync([(JwtForge.Token(JwtForge.GoodPayload), "somebody-else")]));

    // Payloads and headers are signed after the change. Otherwise hardly any of them would be read.
    private static List<(string Token, string User)> Accepted(Func<string, string?> verifier)
    {
        var accepted = new List<(string, string)>();
        Fuzz.Run([.. Payloads().Select(Encoding.UTF8.GetBytes)], payload => Try(Signed(GoodHeader, payload)));
        Fuzz.Run([.. Headers().Select(Encoding.UTF8.GetBytes)], header => Try(Signed(header, GoodPayload)));
        Fuzz.Run([Encoding.ASCII.GetBytes(Signed(GoodHeader, GoodPayload))], token => Try(Encoding.Latin1.GetString(token)));
        return accepted;

        void Try(string token)
        {
            if (verifier(token) is { } user) accepted.Add((token, user));
        }
    }

    private static async Task AssertTheLibraryAgreesAsync(IEnumerable<(string Token, string User)> accepted)
    {
        foreach (var (token, user) in accepted)
        {
            var result = await Library.ValidateTokenAsync(token, Parameters);
            Assert.True(result.IsValid, $"{token}: {result.Exception?.Message}");
            Assert.Equal((string)result.Claims["sub"], user);
        }
    }

    private static IEnumerable<string> Payloads() =>
    [
        JwtForge.GoodPayload,
        JwtForge.GoodPayload.Replace("user-1", "auth0|7\\u007c+/=", StringComparison.Ordinal),
        JwtForge.GoodPayload.Replace("\"flashsale\"", "[\"other\",\"flashsale\"]", StringComparison.Ordinal),
        JwtForge.GoodPayload.Replace("\"iat\"", "\"nbf\":1,\"roles\":{\"a\":[1,2]},\"iat\"", StringComparison.Ordinal),
    ];

    private static IEnumerable<string> Headers() => [JwtForge.GoodHeader, """{"alg":"HS256"}""", """{"typ":"at+jwt","kid":"main","alg":"HS256"}"""];

    private static string Signed(byte[] header, byte[] payload)
    {
        var input = $"{Base64Url.EncodeToString(header)}.{Base64Url.EncodeToString(payload)}";
        return $"{input}.{Base64Url.EncodeToString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(JwtForge.Secret), Encoding.ASCII.GetBytes(input)))}";
    }

    private static string Decoded(string part)
    {
        try
        {
            return Encoding.UTF8.GetString(Base64Url.DecodeFromChars(part));
        }
        catch (FormatException)
        {
            return "";
        }
    }
}
