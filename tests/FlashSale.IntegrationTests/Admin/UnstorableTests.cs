using System.Text;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.IntegrationTests.Payments;
using Npgsql;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Every input refuses a value that a store cannot hold, and nothing is written.</summary>
public sealed class UnstorableTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const string Item = """{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"stock":1}""";

    [Theory]
    [InlineData("0001-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "opensAt")]
    [InlineData("1969-12-31T23:59:59Z", "2030-01-01T00:00:00Z", "opensAt")]
    [InlineData("2030-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "closesAt")]
    [InlineData("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "closesAt")]
    public async Task A_time_outside_of_1970_to_9999_is_refused_and_no_sale_is_there_afterwards(string opensAt, string closesAt, string field)
    {
        var sales = await ScalarAsync<long>("select count(*) from sale");
        var answer = Refusal.AssertIs(400, "invalid_request", await SendAsync("POST", "/api/v1/sales", Sale(opensAt, closesAt)));
        Assert.Equal(field, answer.Json.GetProperty("errors")[0].GetProperty("field").GetString());
        Assert.Equal(sales, await ScalarAsync<long>("select count(*) from sale"));
    }

    [Fact]
    public async Task The_first_and_the_last_time_are_taken_and_shown_as_they_are()
    {
        var id = Manager.Expect(201, await SendAsync("POST", "/api/v1/sales", Sale("1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"))).Member("saleId")!;
        var page = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/sales/{id}"));
        Assert.Equal(("1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"), (page.Member("opensAt"), page.Member("closesAt")));
        Manager.Expect(200, await Stack.Manager.PreloadAsync(id));
        Assert.Equal("open", (await Stack.Manager.GetAsync($"/api/v1/sales/{id}")).Member("status"));
        await Stack.StatusOnEveryNodeAsync(id, "open");
        Manager.Expect(200, await Stack.Manager.CloseAsync(id));
    }

    [Fact]
    public async Task Times_are_bounded_in_filters_files_blocks_switches_and_windows_as_well()
    {
        var id = await Stack.Manager.CreateSaleAsync([new("a", 1)]);
        foreach (var time in (string[])["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
        {
            foreach (var filter in (string[])["from", "to"])
                Refusal.AssertIs(400, "invalid_request", await Stack.Manager.GetAsync($"/api/v1/orders?{filter}={time}"));
            Refusal.AssertIs(400, "invalid_request", await SendAsync("PUT", "/api/v1/ops/switches", $$"""{"level":null,"reason":"x","until":"{{time}}"}"""));
            Refusal.AssertIs(400, "invalid_request", await SendAsync("POST", "/api/v1/ops/blocklist", $$"""{"kind":"user","value":"u","reason":"x","until":"{{time}}"}"""));
            Refusal.AssertIs(400, "invalid_request", await SendAsync("POST", "/api/v1/ops/blocklist:import", $"kind,value,reason,until\nuser,u,x,{time}", "text/csv"));
            Refusal.AssertIs(400, "invalid_request", await SendAsync("POST", $"/api/v1/sales/{id}/window", $$"""{"closesAt":"{{time}}"}"""));
        }
    }

    [Theory]
    [InlineData("sale set opens_at = '-infinity'")]
    [InlineData("sale set closes_at = 'infinity'")]
    [InlineData("sale set closes_at = '10000-01-01'")]
    public async Task Postgres_itself_refuses_a_time_that_would_blind_a_list(string change)
    {
        await Stack.Manager.CreateSaleAsync([new("a", 1)]);
        Assert.Equal("23514", (await Assert.ThrowsAsync<PostgresException>(() => ExecuteAsync($"update {change}"))).SqlState);
        Manager.Expect(200, await Stack.Manager.GetAsync("/api/v1/sales"));
    }

    [Theory]
    [InlineData(@"\u0000")]
    [InlineData(@"\ud800")]
    public async Task Text_that_postgres_cannot_hold_is_refused_in_every_member(string text)
    {
        var sale = Sale("2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z");
        foreach (var (method, path, body) in ((string, string, string)[])
        [
            ("POST", "/api/v1/sales", sale.Replace("\"S\"", $"\"S{text}\"", StringComparison.Ordinal)),
            ("POST", "/api/v1/sales", sale.Replace("\"A\"", $"\"A{text}\"", StringComparison.Ordinal)),
            ("POST", "/api/v1/sales", sale.Replace("\"a\"", $"\"a{text}\"", StringComparison.Ordinal)),
            ("POST", "/api/v1/sales", sale.Replace("CNY", $"CN{text}", StringComparison.Ordinal)),
            ("POST", "/api/v1/sales", sale.Replace("\"name\"", $"\"name{text}\"", StringComparison.Ordinal)),
            ("PUT", "/api/v1/ops/switches", $$"""{"level":null,"reason":"x{{text}}"}"""),
            ("PUT", "/api/v1/ops/switches", $$$"""{"level":null,"reason":"x","switches":{"{{{text}}}":true}}"""),
            ("PUT", "/api/v1/ops/limits", Limits(path: $"/api/v1/sales{text}")),
            ("PUT", "/api/v1/ops/limits", Limits(name: $"a{text}")),
            ("PUT", "/api/v1/ops/limits", $$$"""{"rules":[],"allow":{"users":["u{{{text}}}"]}}"""),
            ("PUT", "/api/v1/ops/limits", $$$"""{"rules":[],"allow":{"clients":["c{{{text}}}"]}}"""),
            ("POST", "/api/v1/ops/blocklist", $$"""{"kind":"user","value":"u{{text}}","reason":"x"}"""),
            ("POST", "/api/v1/ops/blocklist", $$"""{"kind":"client","value":"c{{text}}","reason":"x"}"""),
            ("POST", "/api/v1/ops/blocklist", $$"""{"kind":"user","value":"u","reason":"x{{text}}"}"""),
            ("POST", $"/api/v1/orders/{Guid.NewGuid()}/refund", $$"""{"reason":"x{{text}}"}"""),
            ("POST", "/api/v1/dead-letters/1/reject", $$"""{"reason":"x{{text}}"}"""),
        ])
        {
            var answer = await SendAsync(method, path, body);
            Assert.True(answer.Status == 400, $"{method} {path} {body}: {answer}");
        }
    }

    [Theory]
    [InlineData("%00")]
    [InlineData("%ED%A0%80")]
    [InlineData("%FF")]
    public async Task Text_that_postgres_cannot_hold_in_a_path_or_query_is_no_failure(string text)
    {
        foreach (var path in (string[])
        [
            $"/api/v1/sales/s{text}", $"/api/v1/sales/s{text}/stats", $"/api/v1/sales/s{text}/ledger", $"/api/v1/orders?saleId={text}", $"/api/v1/orders?sku={text}",
            $"/api/v1/orders?userId={text}", $"/api/v1/orders?status={text}", $"/api/v1/orders?from={text}", $"/api/v1/orders?cursor={text}", $"/api/v1/audit?cursor={text}",
            $"/api/v1/ops/blocklist?kind=user&value={text}", $"/api/v1/ops/blocklist?kind=client&value={text}", $"/api/v1/ops/blocklist?kind={text}",
        ])
        {
            // Bytes that are not UTF-8 arrive as U+FFFD, which Postgres can hold. Where any text is allowed, nothing is
            // found.
            Assert.InRange((await Stack.Manager.GetAsync(path)).Status, text == "%00" ? 400 : 200, 404);
        }
        foreach (var path in (string[])[$"/api/v1/ops/blocklist/user/u{text}", $"/api/v1/ops/blocklist/client/u{text}", $"/api/v1/sales/s{text}"])
            Assert.InRange((await Stack.Manager.SendAsync(HttpMethod.Delete, path)).Status, 400, 404);
        foreach (var path in (string[])[$"/api/v1/sales/s{text}", $"/api/v1/orders/{text}", $"/api/v1/orders?cursor={text}"])
            Assert.InRange((await Stack.Shopper("buyer").GetAsync(path)).Status, 400, 404);
    }

    [Theory]
    [InlineData("\"type\":\"a\\ud800\"")]
    [InlineData("\"type\":\"a\\u0000\"")]
    [InlineData("\"type\":\"payment.succeeded\",\"data\":{\"orderId\":\"01234567-89ab-8cde-8f01-23456789abcd\",\"paymentId\":\"p\\ud800\",\"amount\":{\"amount\":1,\"currency\":\"CNY\"}}")]
    [InlineData("\"type\":\"payment.succeeded\",\"data\":{\"orderId\":\"01234567-89ab-8cde-8f01-23456789abcd\",\"paymentId\":\"p\\u0000\",\"amount\":{\"amount\":1,\"currency\":\"CNY\"}}")]
    public async Task A_signed_notice_with_such_a_text_is_refused(string members) =>
        Refusal.AssertIs(400, "invalid_request", await Stack.Provider.NotifyAsync($"{{{members}}}"));

    private static string Sale(string opensAt, string closesAt) => $$"""{"name":"S","opensAt":"{{opensAt}}","closesAt":"{{closesAt}}","items":[{{Item}}]}""";

    private static string Limits(string name = "a", string path = "/api/v1/sales") =>
        $$$"""{"rules":[{"name":"{{{name}}}","match":{"method":"GET","path":"{{{path}}}"},"partition":"ip","scope":"node","capacity":1,"refillPerSecond":1}]}""";

    private async Task<Answer> SendAsync(string method, string path, string body, string type = "application/json")
    {
        using var content = new StringContent(body, Encoding.UTF8, type);
        return await Stack.Manager.SendAsync(new HttpMethod(method), path, content);
    }
}
