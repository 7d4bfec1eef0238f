using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>A host behind a TLS proxy that allows two origins.</summary>
public sealed class TwoOrigins() : StackFixture(new StackOptions
{
    Settings =
    {
        ["Cors__Origins__0"] = CrossOriginTests.Shop, ["Cors__Origins__1"] = "http://localhost:3000", ["Transport__StrictTransportSecurity"] = "true",
    },
});

/// <summary>Scripts of allowed origins can use the Api. Other origins are told nothing.</summary>
public sealed class CrossOriginTests(TwoOrigins fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOrigins>
{
    public const string Shop = "https://shop.example";

    [Theory]
    [InlineData(Shop, "POST", "/api/v1/sales/s1/orders")]
    [InlineData(Shop, "GET", "/api/v1/orders")]
    [InlineData("http://localhost:3000", "POST", "/api/v1/sales/s1/orders")]
    public async Task An_allowed_origin_is_told_what_it_may_send(string origin, string method, string path)
    {
        var answer = await PreflightAsync(origin, method, path);
        Assert.Equal(204, answer.Status);
        Assert.Empty(answer.Body);
        Assert.Equal(origin, answer.Header("access-control-allow-origin"));
        Assert.Equal("GET, POST", answer.Header("access-control-allow-methods"));
        Assert.Equal("Authorization, Content-Type, Idempotency-Key, Purchase-Ticket, If-None-Match, Last-Event-ID, traceparent", answer.Header("access-control-allow-headers"));
        Assert.Equal("600", answer.Header("access-control-max-age"));
        Assert.Equal("Origin", answer.Header("vary"));
        Assert.DoesNotContain("access-control-allow-credentials", answer.Headers.Keys);
    }

    [Theory]
    [InlineData("https://shop.example.evil.example")]
    [InlineData("https://evil.example")]
    [InlineData("http://shop.example")]
    [InlineData("https://shop.example:8443")]
    [InlineData("https://SHOP.example")]
    [InlineData("null")]
    [InlineData("*")]
    public async Task Any_other_origin_is_told_nothing(string origin)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        foreach (var path in (string[])[sale.OrdersPath, "/api/v1/orders"])
        {
            var preflight = await PreflightAsync(origin, "POST", path);
            Assert.Contains("Cors:Origins", Refusal.AssertIs(405, "method_not_allowed", preflight).Member("detail"), StringComparison.Ordinal);
            AssertSaysNothing(preflight);
        }
        AssertSaysNothing(await Stack.Shopper("a").GetAsync("/api/v1/sales", ("Origin", origin)));
    }

    [Fact]
    public async Task Every_answer_to_an_allowed_origin_can_be_read_by_it()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        var bought = Check(202, await BuyAsync(sale, "first"));
        Assert.Equal("true", Check(202, await BuyAsync(sale, "first")).Header("idempotency-replayed"));
        Assert.NotNull(bought.Header("location"));
        Check(409, await BuyAsync(sale, "late"));
        Check(401, await BuyAsync(sale, "", token: ""));
        Check(200, await Stack.Shopper("first").GetAsync("/api/v1/sales", ("Origin", Shop)));
        Check(200, await Stack.Shopper("first").GetAsync($"/api/v1/orders/{bought.OrderId}", ("Origin", Shop)));
        Check(404, await Stack.Shopper("first").GetAsync("/nowhere", ("Origin", Shop)));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task What_the_server_itself_refuses_can_be_read_by_an_allowed_origin()
    {
        var large = new string('x', 17 * 1024);
        foreach (var (status, code, request) in ((int, string, string)[])
        [
            (431, "headers_too_large", $"GET / HTTP/1.1\r\nHost: x\r\nOrigin: {Shop}\r\nX-Large: {large}\r\n\r\n"),
            (431, "headers_too_large", $"GET / HTTP/1.1\r\nHost: x\r\nX-Large: {large}\r\nOrigin: {Shop}\r\n\r\n"),
            (414, "address_too_long", $"GET /{new string('x', 9_000)} HTTP/1.1\r\nHost: x\r\nOrigin: {Shop}\r\n\r\n"),
            (400, "invalid_request", $"GET /%00 HTTP/1.1\r\nHost: x\r\nOrigin: {Shop}\r\nConnection: close\r\n\r\n"),
        ])
        {
            var answer = Refusal.AssertIs(status, code, await RawHttp.SendAsync(Stack.Api.Port, request));
            // A server that refuses before it has read the origin lets every origin read that.
            Assert.True(answer.Header("access-control-allow-origin") is Shop or "*", $"{status}: {answer.Header("access-control-allow-origin")}");
        }
        var stranger = $"GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nX-Large: {large}\r\n\r\n";
        AssertSaysNothing(Refusal.AssertIs(431, "headers_too_large", await RawHttp.SendAsync(Stack.Api.Port, stranger)));
    }

    [Fact]
    public async Task Without_an_origin_only_caches_are_told()
    {
        var answer = await Stack.Shopper("a").GetAsync("/api/v1/sales");
        AssertSaysNothing(answer);
        // The host is configured for a TLS proxy.
        Assert.Equal("max-age=31536000", answer.Header("strict-transport-security"));
    }

    private static Answer Check(int status, Answer answer)
    {
        Assert.True(answer.Status == status, $"Expected {status}, got {answer}");
        Assert.Equal(Shop, answer.Header("access-control-allow-origin"));
        Assert.Equal("Location, Retry-After, Idempotency-Replayed, RateLimit, RateLimit-Policy, ETag, Date", answer.Header("access-control-expose-headers"));
        Assert.Equal("Origin", answer.Header("vary"));
        Assert.DoesNotContain("access-control-allow-credentials", answer.Headers.Keys);
        return answer;
    }

    private static void AssertSaysNothing(Answer answer)
    {
        Assert.DoesNotContain(answer.Headers.Keys, name => name.StartsWith("access-control-", StringComparison.Ordinal));
        Assert.Equal("Origin", answer.Header("vary"));
    }

    private async Task<Answer> BuyAsync(Sale sale, string user, string? token = null)
    {
        var answer = await Stack.Shopper(user, token: token).SendAsync(HttpMethod.Post, sale.OrdersPath,
            "{\"sku\":\"phone-1\",\"quantity\":1}"u8.ToArray(), "k", "application/json", ("Origin", Shop));
        sale.History.Add(new Attempt(user, "k", sale.Sku, 1, answer));
        return answer;
    }

    // A browser sends no token with a preflight.
    private Task<Answer> PreflightAsync(string origin, string method, string path) => Stack.Shopper("", token: "").SendAsync(HttpMethod.Options, path,
        headers: [("Origin", origin), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")]);
}
