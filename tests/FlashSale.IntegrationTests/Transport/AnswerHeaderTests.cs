using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>Every answer of every host has the security headers for browsers, and no banner.</summary>
[Collection<OnOneOfEach>]
public sealed class AnswerHeaderTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Good = """{"sku":"phone-1","quantity":1}""";

    [Fact]
    public async Task Every_answer_of_the_shoppers_host_has_the_security_headers_and_no_banner()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        var (buyer, nobody) = (Stack.Shopper("buyer"), Stack.Shopper("nobody", token: ""));
        var bought = Check(202, await buyer.BuyAsync(sale, "k"));
        Check(202, await buyer.BuyAsync(sale, "k"));
        Check(409, await Stack.Shopper("late").BuyAsync(sale, "k"));
        Check(422, await buyer.BuyAsync(sale, "k", quantity: 2));
        Check(400, await buyer.PurchaseAsync(sale.Id, "{", "k"));
        Check(401, await nobody.PurchaseAsync(sale.Id, Good, "k"));
        Check(413, await buyer.PurchaseAsync(sale.Id, new string(' ', 9_000), "k"));
        Check(415, await buyer.PurchaseAsync(sale.Id, Good, "k", "text/plain"));
        Check(200, await buyer.GetAsync("/api/v1/sales"));
        var page = Check(200, await buyer.GetAsync($"/api/v1/sales/{sale.Id}"));
        Check(304, await buyer.GetAsync($"/api/v1/sales/{sale.Id}", ("If-None-Match", page.Header("etag")!)));
        Check(200, await buyer.OrderAsync(bought.OrderId));
        Check(404, await buyer.OrderAsync(Guid.NewGuid()));
        Check(404, await buyer.GetAsync("/nowhere"));
        Check(405, await buyer.SendAsync(HttpMethod.Delete, "/api/v1/orders"));
        Check(200, await buyer.GetAsync("/openapi/v1.json"));
        Check(200, await Figures.ReadyAsync(Stack.Api));
    }

    [Fact]
    public async Task Every_answer_of_the_managers_host_has_the_security_headers_and_no_banner()
    {
        Check(200, await Stack.Manager.GetAsync("/api/v1/sales"));
        Check(404, await Stack.Manager.GetAsync("/api/v1/sales/none"));
        Check(200, await Stack.Manager.GetAsync("/openapi/v1.json"));
        Check(401, await RawHttp.SendAsync(Stack.Admin.Port, RawHttp.Request("GET", "/api/v1/sales", "", null)));
        Check(200, await Figures.ReadyAsync(Stack.Admin));
    }

    [Theory]
    [InlineData("Api")]
    [InlineData("Admin")]
    public async Task What_the_server_itself_refuses_is_a_problem_with_the_same_headers_while_others_buy(string host)
    {
        const int AtATime = 8;
        var port = (host == "Api" ? Stack.Api : Stack.Admin).Port;
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(100);
        var bought = load.AcceptedMoreAsync(1_000);
        var sent = 0;
        do
        {
            await Task.WhenAll(Enumerable.Range(0, AtATime).Select(_ => RefusedAsync(port)));
            sent += AtATime;
        }
        while (!bought.IsCompleted);
        await bought;
        await load.StopAsync();
        Tell($"{sent} requests of each kind; slowest purchase {sale.History.Attempts.Max(attempt => attempt.Answer.Took).TotalMilliseconds:0} ms");
        sale.History.AssertEveryoneWasServed();
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_large_body_is_refused_wherever_it_goes_and_the_answer_can_be_read()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var body = Encoding.ASCII.GetBytes(new string('{', 1024 * 1024));
        for (var i = 0; i < 20; i++)
        {
            Refusal.AssertIs(413, "body_too_large", await Stack.Shopper("heavy").SendAsync(HttpMethod.Post, sale.OrdersPath, body, "k", "application/json"));
            Refusal.AssertIs(401, "unauthenticated", await Stack.Shopper("heavy", token: "").SendAsync(HttpMethod.Post, sale.OrdersPath, body, "k", "application/json"));
            Refusal.AssertIs(413, "body_too_large", await Stack.Shopper("heavy").SendAsync(HttpMethod.Post, "/api/v1/payments/webhook", body, contentType: "application/json"));
            Refusal.AssertIs(404, "not_found", await Stack.Shopper("heavy").SendAsync(HttpMethod.Post, "/nowhere", body));
        }
    }

    private static async Task RefusedAsync(int port)
    {
        Check(431, Refusal.AssertIs(431, "headers_too_large", await SendAsync($"GET / HTTP/1.1\r\nHost: x\r\nX-Large: {new string('x', 17 * 1024)}\r\n\r\n")));
        var many = string.Concat(Enumerable.Range(0, 65).Select(i => $"X-{i}: y\r\n"));
        Check(431, Refusal.AssertIs(431, "headers_too_large", await SendAsync($"GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")));
        Check(414, Refusal.AssertIs(414, "address_too_long", await SendAsync($"GET /{new string('x', 9_000)} HTTP/1.1\r\nHost: x\r\n\r\n")));
        Check(400, Refusal.AssertIs(400, "invalid_request", await SendAsync("GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n")));

        Task<Answer> SendAsync(string request) => RawHttp.SendAsync(port, request);
    }

    private static Answer Check(int status, Answer answer)
    {
        Assert.True(answer.Status == status, $"Expected {status}, got {answer}");
        Assert.Equal("nosniff", answer.Header("x-content-type-options"));
        Assert.Equal("default-src 'none'; frame-ancestors 'none'", answer.Header("content-security-policy"));
        Assert.Equal("no-referrer", answer.Header("referrer-policy"));
        Assert.Equal("same-origin", answer.Header("cross-origin-resource-policy"));
        Assert.DoesNotContain("strict-transport-security", answer.Headers.Keys);
        Assert.DoesNotContain("server", answer.Headers.Keys);
        Assert.DoesNotContain("x-powered-by", answer.Headers.Keys);
        Assert.DoesNotContain(answer.Headers.Keys, name => name.StartsWith("access-control-", StringComparison.Ordinal));
        return answer;
    }
}
