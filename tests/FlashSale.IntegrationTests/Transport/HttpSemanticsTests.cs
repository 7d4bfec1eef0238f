using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>Hosts answer HEAD beside GET and refuse encoded bodies clearly, as RFC 9110 asks of every server.</summary>
[Collection<OnOneOfEach>]
public sealed class HttpSemanticsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Purchase = """{"sku":"phone-1","quantity":1}""";

    [Fact]
    public async Task Head_is_answered_as_get_is_but_without_a_body_on_every_port()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("nobody").BuyAsync(sale)).OrderId;
        string[] shoppers = ["/api/v1/sales", $"/api/v1/sales/{sale.Id}", "/api/v1/sales/none", "/api/v1/orders", $"/api/v1/orders/{order}", "/openapi/v1.json"];
        foreach (var path in shoppers) await AssertSameAsync(Stack.Api.Port, path, Tokens.For("nobody"));
        string[] managers = ["/api/v1/sales", $"/api/v1/sales/{sale.Id}", $"/api/v1/sales/{sale.Id}/orders.csv", "/api/v1/audit", "/openapi/v1.json"];
        foreach (var path in managers) await AssertSameAsync(Stack.Admin.Port, path, Manager.OperatorToken);
        foreach (var host in (HostProcess[])[Stack.Api, Stack.Admin, Stack.Worker])
        {
            foreach (var path in (string[])["/health/live", "/health/ready", "/metrics"]) await AssertSameAsync(host.Port + 1_000, path, null);
        }
        // HEAD must not wait for the end of a stream, since a stream need not end.
        var events = await SendAsync("HEAD", Stack.Api.Port, $"/api/v1/orders/{order}/events", Tokens.For("nobody"));
        Assert.Equal((200, "text/event-stream", ""), (events.Status, events.Header("content-type"), events.Text));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_method_that_is_not_there_names_those_that_are()
    {
        var refused = Refusal.AssertIs(405, "method_not_allowed", await Stack.Shopper("a").SendAsync(HttpMethod.Delete, "/api/v1/orders"));
        Assert.Equal("GET, HEAD", refused.Header("allow"));
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("br")]
    [InlineData("identity, gzip")]
    public async Task A_body_with_a_content_encoding_is_refused_and_told_why(string encoding)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        foreach (var (port, path) in ((int, string)[])[(Stack.Api.Port, sale.OrdersPath), (Stack.Api.Port, "/api/v1/payments/webhook"), (Stack.Admin.Port, "/api/v1/sales")])
        {
            var answer = await RawHttp.PostAsync(port, path, $"Idempotency-Key: k\r\nContent-Encoding: {encoding}\r\n", Purchase);
            Assert.Contains("Content-Encoding", Refusal.AssertIs(415, "unsupported_media_type", answer).Member("detail"), StringComparison.Ordinal);
            Assert.Equal("identity", answer.Header("accept-encoding"));
        }
        Assert.Equal(202, (await RawHttp.PostAsync(Stack.Api.Port, sale.OrdersPath, "Idempotency-Key: k\r\nContent-Encoding: identity\r\n", Purchase)).Status);
    }

    [Fact]
    public async Task A_byte_order_mark_before_a_body_is_passed_over()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var bought = await RawHttp.PostAsync(Stack.Api.Port, sale.OrdersPath, "Idempotency-Key: k\r\n", "\uFEFF" + Purchase);
        Assert.Equal(202, bought.Status);
        sale.History.Add(new Attempt("nobody", "k", sale.Sku, 1, bought));
        using var switches = new StringContent("\uFEFF{\"level\":0,\"reason\":\"a test\",\"floor\":0,\"ceiling\":5,\"switches\":{}}", Encoding.UTF8, "application/json");
        Assert.Equal(200, (await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", switches)).Status);
        using var draft = new StringContent(
            "\uFEFF{\"name\":\"秒杀 ⚡\",\"opensAt\":\"2030-01-01T10:00:00Z\",\"closesAt\":\"2030-01-01T11:00:00Z\",\"items\":[{\"sku\":\"a\",\"name\":\"手机\",\"price\":{\"amount\":1,\"currency\":\"CNY\"},\"stock\":1}]}",
            Encoding.UTF8, "application/json");
        var created = await Stack.Manager.SendAsync(HttpMethod.Post, "/api/v1/sales", draft);
        Assert.Equal((201, "秒杀 ⚡"), (created.Status, created.Member("name")));
        await Books.CheckAsync(Stack, sale);
    }

    private static async Task AssertSameAsync(int port, string path, string? token)
    {
        var get = await SendAsync("GET", port, path, token);
        var head = await SendAsync("HEAD", port, path, token);
        Assert.True((get.Status, get.Header("content-type")) == (head.Status, head.Header("content-type")), $"{path}: GET {get.Status}, HEAD {head}");
        Assert.Empty(head.Body);
        Assert.NotEmpty(get.Body);
    }

    private static Task<Answer> SendAsync(string method, int port, string path, string? token) => RawHttp.SendAsync(port,
        $"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{(token is null ? "" : $"Authorization: Bearer {token}\r\n")}\r\n");
}
