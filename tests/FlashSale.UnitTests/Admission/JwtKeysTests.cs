using System.Buffers.Text;
using System.Text;
using FlashSale.Admission;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Admission;

/// <summary>Keys that change while a verifier works.</summary>
public sealed class JwtKeysTests
{
    private const string Old = "an old secret of more than thirty-two bytes..", New = "a new secret of more than thirty-two bytes...";

    [Fact]
    public void A_key_that_is_added_is_taken_and_one_that_is_removed_is_not_any_more()
    {
        var (keys, verifier) = Of(Jwks(("old", Old)));
        AssertTaken(verifier, old: true, added: false);
        Assert.Null(keys.Replace(1, Jwks(("old", Old), ("new", New))));
        AssertTaken(verifier, old: true, added: true);
        Assert.Null(keys.Replace(1, Jwks(("new", New))));
        AssertTaken(verifier, old: false, added: true);
        Assert.Equal(["main", "new"], keys.Kids);
    }

    [Theory]
    [InlineData("", "allowed is a readable key file")]
    [InlineData("{\"keys\":[]}", "holds no signature key")]
    [InlineData("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"new\",\"k\":\"AQAB\"}]}", "(hidden, 3 bytes)")]
    [InlineData("main", "allowed is a name that no other key has")]
    public void A_text_that_is_wrong_changes_nothing(string text, string told)
    {
        var (keys, verifier) = Of(Jwks(("old", Old)));
        Assert.Contains(told, keys.Replace(1, text == "main" ? Jwks(("new", New), ("main", New)) : text));
        AssertTaken(verifier, old: true, added: false);
    }

    [Fact]
    public void A_key_that_changes_under_its_name_is_another_key()
    {
        var (keys, verifier) = Of(Jwks(("old", Old)));
        Assert.Equal(JwtResult.Ok, verifier.Judge(Signed("old", Old)));
        Assert.Null(keys.Replace(1, Jwks(("old", New))));
        Assert.Equal(JwtResult.BadSignature, verifier.Judge(Signed("old", Old)));
        Assert.Equal(JwtResult.Ok, verifier.Judge(Signed("old", New)));
    }

    [Fact]
    public async Task A_key_that_moves_from_one_file_to_another_is_in_force_in_the_end()
    {
        var (first, second) = (JwtForge.TempFile(Jwks(("old", Old))), JwtForge.TempFile(Jwks(("moves", New))));
        var options = JwtForge.Options(new JwtKeyOptions { JwksFile = first }, new JwtKeyOptions { JwksFile = second });
        using var follower = new JwtKeyFollower(options, new JwtKeys(options), NullLogger<JwtKeyFollower>.Instance);
        await follower.StartAsync(CancellationToken.None);
        // Until the second file gives the key up, the first one is refused.
        await File.WriteAllTextAsync(first, Jwks(("old", Old), ("moves", New)));
        await Eventually.TrueAsync(TimeSpan.FromSeconds(30), () => follower.Health.Contains("refused", StringComparison.Ordinal));
        await File.WriteAllTextAsync(second, Jwks(("other", Old)));
        await Eventually.TrueAsync(TimeSpan.FromSeconds(30), () => follower.Health is "token keys: old, moves, other");
        await follower.StopAsync(CancellationToken.None);
        File.Delete(first);
        File.Delete(second);
    }

    private static void AssertTaken(JwtVerifier verifier, bool old, bool added)
    {
        Assert.Equal(JwtResult.Ok, verifier.Judge(JwtForge.Token(JwtForge.GoodPayload)));
        Assert.Equal(old ? JwtResult.Ok : JwtResult.UnknownKey, verifier.Judge(Signed("old", Old)));
        Assert.Equal(added ? JwtResult.Ok : JwtResult.UnknownKey, verifier.Judge(Signed("new", New)));
    }

    private static string Signed(string kid, string secret) => JwtForge.Token(JwtForge.GoodPayload, $$"""{"alg":"HS256","kid":"{{kid}}"}""", secret);

    private static string Jwks(params (string Kid, string Secret)[] keys) =>
        $$"""{"keys":[{{string.Join(',', keys.Select(key => $$"""{"kty":"oct","kid":"{{key.Kid}}","k":"{{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(key.Secret))}}"}"""))}}]}""";

    private static (JwtKeys Keys, JwtVerifier Verifier) Of(string jwks)
    {
        var path = JwtForge.TempFile(jwks);
        var options = JwtForge.Options(new JwtKeyOptions { Kid = JwtForge.Kid, Secret = JwtForge.Secret }, new JwtKeyOptions { JwksFile = path });
        var keys = new JwtKeys(options);
        File.Delete(path);
        return (keys, new JwtVerifier(options, keys, new FakeTimeProvider(JwtForge.Now)));
    }
}
