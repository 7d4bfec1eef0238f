using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admission;

/// <summary>A host follows the key changes of its identity provider while it runs.</summary>
[Collection<OnOneOfEach>]
public sealed class KeyRotationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string First = "the-first-secret-of-more-than-32-bytes", Second = "the-second-secret-of-more-than-32-bytes";

    private readonly string _jwks = Path.Combine(Path.GetTempPath(), $"keys-{Guid.NewGuid():N}.json");
    private readonly string _pem = Path.Combine(Path.GetTempPath(), $"key-{Guid.NewGuid():N}.pem");

    public override ValueTask DisposeAsync()
    {
        File.Delete(_jwks);
        File.Delete(_pem);
        return base.DisposeAsync();
    }

    [Fact]
    public async Task Key_files_are_followed_and_a_bad_one_keeps_the_keys_from_before()
    {
        using var rsa = RSA.Create(2048);
        Replace(_jwks, Jwks(("first", First)));
        Replace(_pem, rsa.ExportSubjectPublicKeyInfoPem());
        await using var api = new HostProcess("Api", Settings());
        await api.StartAsync();
        Assert.Equal((200, 401), (await AskAsync(api, "first", First), await AskAsync(api, "second", Second)));

        Replace(_jwks, Jwks(("first", First), ("second", Second)));
        await BecomesAsync(api, "second", Second, 200);
        Assert.Equal(200, await AskAsync(api, "first", First));

        // The file is cut short, as if it were still being written.
        Replace(_jwks, Jwks(("second", Second))[..^4]);
        await HealthSaysAsync(api, "refused, its keys from before stay: Jwt:Keys:1:JwksFile");
        Assert.Equal((200, 200, 1d), (await AskAsync(api, "first", First), await AskAsync(api, "second", Second), await Figures.ShownAsync(api, "flashsale_token_key_files_refused")));
        // The host still follows the other file.
        using var next = RSA.Create(2048);
        Replace(_pem, next.ExportSubjectPublicKeyInfoPem());
        await Eventually.TrueAsync("the new PEM file is in force", TimeSpan.FromSeconds(20), () => api.Output.Contains($"The keys in {_pem} are in force", StringComparison.Ordinal)
            && Occurrences(api.Output, $"The keys in {_pem} are in force") == 2);

        // A key that leaves its file is no longer accepted.
        Replace(_jwks, Jwks(("second", Second)));
        await BecomesAsync(api, "first", First, 401);
        Assert.Equal((200, 0d), (await AskAsync(api, "second", Second), await Figures.ShownAsync(api, "flashsale_token_key_files_refused")));
        File.Delete(_jwks);
        await HealthSaysAsync(api, "refused, its keys from before stay");
        Assert.Equal(200, await AskAsync(api, "second", Second));
        // Tokens of the stack's own key were good all the time.
        Assert.Equal(200, await AskAsync(api, Tokens.KeyId, Tokens.Secret));
    }

    private static Task<TimeSpan> BecomesAsync(HostProcess api, string kid, string secret, int status) =>
        Eventually.TrueAsync($"tokens of {kid} get {status}", TimeSpan.FromSeconds(20), async () => await AskAsync(api, kid, secret) == status);

    private static Task<TimeSpan> HealthSaysAsync(HostProcess api, string text) =>
        Eventually.TrueAsync($"health says {text}", TimeSpan.FromSeconds(20), async () => (await Figures.ReadyAsync(api)).Text.Contains(text, StringComparison.Ordinal));

    private static int Occurrences(string text, string part) => text.Split(part).Length - 1;

    private static async Task<int> AskAsync(HostProcess api, string kid, string secret)
    {
        using var http = new HttpClient();
        return (await new Shopper(http, () => api.Url, "u", Tokens.Mint(Tokens.Header(keyId: kid), Tokens.Claims("u"), secret)).MyOrdersAsync()).Status;
    }

    // Deployments replace a file in the same way: the new content appears whole.
    private static void Replace(string path, string text)
    {
        File.WriteAllText(path + ".new", text);
        File.Move(path + ".new", path, overwrite: true);
    }

    private static string Jwks(params (string Kid, string Secret)[] keys) =>
        $$"""{"keys":[{{string.Join(',', keys.Select(key => $$"""{"kty":"oct","kid":"{{key.Kid}}","k":"{{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(key.Secret))}}"}"""))}}]}""";

    private Dictionary<string, string> Settings() =>
        new(Stack.Settings(), StringComparer.Ordinal) { ["Jwt__Keys__1__JwksFile"] = _jwks, ["Jwt__Keys__2__Kid"] = "pem", ["Jwt__Keys__2__PemFile"] = _pem };
}
