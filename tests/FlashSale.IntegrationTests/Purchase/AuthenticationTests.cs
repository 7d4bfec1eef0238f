using System.Buffers.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>Nobody buys in another shopper's name.</summary>
[Collection<OnOneOfEach>]
public sealed class AuthenticationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private static readonly Dictionary<string, Func<string>> BadTokens = new(StringComparer.Ordinal)
    {
        ["none at all"] = () => "",
        ["not a token"] = () => "forged",
        ["two parts"] = () => string.Join('.', Tokens.For("u").Split('.')[..2]),
        ["another secret"] = () => Tokens.Mint(Tokens.Header(), Tokens.Claims("u"), "another-secret-of-more-than-thirty-two-bytes"),
        ["an unknown key"] = () => Tokens.Mint(Tokens.Header(keyId: "other"), Tokens.Claims("u")),
        ["algorithm none with the signature of HS256"] = () => Tokens.Mint(Tokens.Header("none"), Tokens.Claims("u")),
        ["algorithm nOnE"] = () => $"{string.Join('.', Tokens.Mint(Tokens.Header("nOnE", keyId: null), Tokens.Claims("u")).Split('.')[..2])}.",
        ["a signature turned by a bit"] = () => WithSignatureBitFlipped(Tokens.For("u"), 100),
        ["no signature"] = () => Tokens.For("u")[..(Tokens.For("u").LastIndexOf('.') + 1)],
        ["algorithm none"] = () => $"{string.Join('.', Tokens.Mint(Tokens.Header("none"), Tokens.Claims("u")).Split('.')[..2])}.",
        ["another algorithm"] = () => Tokens.Mint(Tokens.Header("HS512"), Tokens.Claims("u")),
        ["expired"] = () => Tokens.Mint(Tokens.Header(), Tokens.Claims("u", lifetimeSeconds: -3_600)),
        ["no expiry"] = () => Changed("exp", null),
        ["not valid yet"] = () => Changed("nbf", TimeProvider.System.GetUtcNow().AddHours(1).ToUnixTimeSeconds()),
        ["another issuer"] = () => Changed("iss", "https://evil.test"),
        ["another audience"] = () => Changed("aud", "admins"),
        ["no subject"] = () => Changed("sub", null),
        ["an empty subject"] = () => Changed("sub", ""),
        ["a subject of 256 characters"] = () => Changed("sub", new string('u', 256)),
        ["a subject with a blank"] = () => Changed("sub", "a b"),
        ["a subject that is a number"] = () => Changed("sub", 7),
        ["claims of another user under the old signature"] = () => Swapped(),
    };

    public static TheoryData<string> Cases => [.. BadTokens.Keys];

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task A_bad_token_is_refused_everywhere(string name)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var shopper = Stack.Shopper("u", token: BadTokens[name]());
        Refusal.AssertIs(401, "unauthenticated", await shopper.PurchaseAsync(sale.Id, """{"sku":"phone-1","quantity":1}""", "k"));
        Refusal.AssertIs(401, "unauthenticated", await shopper.AdmitAsync(sale.Id));
        Refusal.AssertIs(401, "unauthenticated", await shopper.MyOrdersAsync());
        Refusal.AssertIs(401, "unauthenticated", await shopper.OrderAsync(Guid.NewGuid()));
        Refusal.AssertIs(401, "unauthenticated", await shopper.GetAsync($"/api/v1/orders/{Guid.NewGuid()}/events"));
        Assert.Empty((await Books.CheckAsync(Stack, sale)).Orders);
    }

    [Fact]
    public async Task Whatever_bit_of_a_signature_is_turned_it_neither_buys_nor_admits()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var token = Tokens.For("u");
        await Crowd.EachAsync(Enumerable.Range(0, 256), 8, async bit =>
        {
            var shopper = Stack.Shopper("u", token: WithSignatureBitFlipped(token, bit));
            Refusal.AssertIs(401, "unauthenticated", await shopper.PurchaseAsync(sale.Id, """{"sku":"phone-1","quantity":1}""", "k"));
            Refusal.AssertIs(401, "unauthenticated", await shopper.AdmitAsync(sale.Id));
        });
        Assert.Equal(200, (await Stack.Shopper("u", token: token).AdmitAsync(sale.Id)).Status);
        Assert.Empty((await Books.CheckAsync(Stack, sale)).Orders);
    }

    [Fact]
    public async Task Credentials_of_another_kind_are_refused()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var nobody = Stack.Shopper("u", token: "");
        var good = Tokens.For("u");
        foreach (var header in (string[])["Basic dTpw", good, "Bearer", $"Bearer {good} {good}", $"Token {good}"])
        {
            Refusal.AssertIs(401, "unauthenticated", await nobody.SendAsync(HttpMethod.Post, sale.OrdersPath, """{"sku":"phone-1","quantity":1}"""u8.ToArray(),
                "k", "application/json", ("Authorization", header)));
        }
    }

    [Fact]
    public async Task A_refused_token_is_told_why_and_so_are_operators()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        foreach (var (name, reason) in ((string, string)[])
        [
            ("not a token", "malformed"), ("no expiry", "no_expiry"), ("an unknown key", "unknown_key"), ("another secret", "bad_signature"), ("expired", "expired"),
            ("not valid yet", "not_yet_valid"), ("another issuer", "wrong_issuer"), ("another audience", "wrong_audience"), ("a subject with a blank", "bad_user"),
        ])
        {
            var series = $"flashsale_tokens_refused_total{{reason=\"{reason}\"}}";
            var before = await Figures.OfAsync(Stack.Api, series);
            var shopper = Stack.Shopper("u", token: BadTokens[name]());
            foreach (var answer in (Answer[])[await shopper.PurchaseAsync(sale.Id, """{"sku":"phone-1","quantity":1}""", "k"), await shopper.AdmitAsync(sale.Id), await shopper.MyOrdersAsync()])
            {
                Assert.Matches("^Bearer error=\"invalid_token\", error_description=\"[^\"\\\\]{10,}\"$", answer.Header("www-authenticate"));
            }
            Assert.Equal(3, await Figures.OfAsync(Stack.Api, series) - before);
        }
        var nobody = Stack.Shopper("u", token: "");
        Assert.Equal("Bearer", (await nobody.MyOrdersAsync()).Header("www-authenticate"));
        // The host logs at most one such line a second, and an earlier test may have caused the line of this second.
        var forger = Stack.Shopper("u", token: BadTokens["expired"]());
        await Eventually.TrueAsync("a line tells of tokens that were refused", TimeSpan.FromSeconds(10), async () =>
        {
            Assert.Equal(401, (await forger.MyOrdersAsync()).Status);
            return Stack.Api.OutputSinceMark.Contains("A token was refused", StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task A_token_of_many_roles_buys()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var claims = Tokens.Claims("somebody-important");
        claims["roles"] = Enumerable.Range(0, 300).Select(i => $"department-{i:000}/editor").ToArray();
        for (var i = 0; i < 60; i++) claims[$"https://shop.example/claims/{i}"] = true;
        var token = Tokens.Mint(Tokens.Header(), claims);
        Assert.InRange(token.Length, 12_000, 15_000);
        Assert.Equal(202, (await Stack.Shopper("somebody-important", token: token).BuyAsync(sale)).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_sale_pages_take_no_token()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var nobody = Stack.Shopper("u", token: "");
        Assert.Equal(200, (await nobody.GetAsync("/api/v1/sales")).Status);
        Assert.Equal(200, (await nobody.GetAsync($"/api/v1/sales/{sale.Id}")).Status);
    }

    private static string WithSignatureBitFlipped(string token, int bit)
    {
        var dot = token.LastIndexOf('.');
        var signature = Base64Url.DecodeFromChars(token.AsSpan(dot + 1));
        signature[bit / 8] ^= (byte)(1 << bit % 8);
        return token[..(dot + 1)] + Base64Url.EncodeToString(signature);
    }

    private static string Changed(string claim, object? value)
    {
        var claims = Tokens.Claims("u");
        claims[claim] = value;
        return Tokens.Mint(Tokens.Header(), claims);
    }

    private static string Swapped()
    {
        var parts = Tokens.For("u").Split('.');
        var other = Tokens.For("somebody-else").Split('.');
        Assert.True(Base64Url.IsValid(parts[2]));
        return $"{parts[0]}.{other[1]}.{parts[2]}";
    }
}
