using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>
/// Admin answers a malformed sale, change or id with a 4xx that names the mistake, and writes nothing.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class SaleInputTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Item = """{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"stock":1}""";

    [Theory]
    [InlineData("""{"opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "name")]
    [InlineData("""{"name":" ","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "name")]
    [InlineData("""{"name":"a\u0000b","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "name")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "opensAt")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "opensAt")]
    [InlineData("""{"name":"S","opensAt":1900000000,"closesAt":"2030-13-02T00:00:00Z","items":[]}""", "opensAt,closesAt")]
    [InlineData("""{"name":"S","opensAt":"2030-01-02T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[]}""", "closesAt")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z"}""", "items")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":{}}""", "items")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[],"perUserLimit":0,"payWithinSeconds":604801,"status":"live"}""", "perUserLimit,payWithinSeconds,status")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[],"requiresTicket":"yes","admissionPerSecond":0}""", "requiresTicket,admissionPerSecond")]
    [InlineData("""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[],"requiresTicket":1,"admissionPerSecond":1000001}""", "requiresTicket,admissionPerSecond")]
    [InlineData("""[]""", "body")]
    [InlineData("""{"name":"S","name":"T"}""", "body")]
    [InlineData("""{"name":"\ud800"}""", "body")]
    [InlineData("""{"name":"S" """, "body")]
    [InlineData("", "body")]
    public Task A_sale_that_is_none_is_refused_member_by_member(string body, string fields) => AssertRefusedAsync(body, fields);

    [Theory]
    [InlineData("""{"sku":"a b","name":"A","price":{"amount":1,"currency":"CNY"},"stock":1}""", "sku")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":-1,"currency":"CNY"},"stock":1}""", "price.amount")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":1.5,"currency":"CNY"},"stock":1}""", "price.amount")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":"1","currency":"cny"},"stock":1}""", "price.amount,price.currency")]
    [InlineData("""{"sku":"a","name":"A","price":7,"stock":2000000001}""", "price,stock")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"stock":1e3}""", "stock")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY","x":1},"stock":9007199254740993}""", "price.x,stock")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"listPrice":{"amount":1,"currency":"USD"},"stock":1}""", "listPrice.currency")]
    [InlineData("""{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"stock":1,"perUserLimit":1000001}""", "perUserLimit")]
    [InlineData("null", "")]
    [InlineData("7", "")]
    public Task An_item_that_is_none_is_refused_by_its_place(string item, string members) =>
        AssertRefusedAsync($$"""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[{{Item.Replace("\"a\"", "\"z\"", StringComparison.Ordinal)}},{{item}}]}""",
            string.Join(',', members.Split(',').Select(member => member.Length == 0 ? "items[1]" : $"items[1].{member}")));

    [Fact]
    public Task The_same_sku_twice_is_refused() =>
        AssertRefusedAsync($$"""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[{{Item}},{{Item}}]}""", "items[1].sku");

    [Fact]
    public async Task Deep_large_and_foreign_bodies_are_refused()
    {
        Refusal.AssertIs(400, "invalid_request", await PostAsync(new string('[', 100_000)));
        Refusal.AssertIs(413, "body_too_large", await PostAsync(new string(' ', 1_100_000)));
        Refusal.AssertIs(415, "unsupported_media_type", await PostAsync("a=b", "application/x-www-form-urlencoded"));
        using var none = new ByteArrayContent(Encoding.UTF8.GetBytes("{}"));
        Refusal.AssertIs(415, "unsupported_media_type", await Stack.Manager.SendAsync(HttpMethod.Post, "/api/v1/sales", none));
    }

    [Fact]
    public async Task A_byte_order_mark_is_skipped_and_a_compressed_body_refused()
    {
        var sale = $$"""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","items":[{{Item}}]}""";
        Manager.Expect(201, await PostAsync("\ufeff" + sale));
        using var switches = new StringContent("\ufeff{\"level\":null,\"reason\":\"a test\"}", Encoding.UTF8, "application/json");
        Manager.Expect(200, await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", switches));
        using var compressed = new StringContent(sale, Encoding.UTF8, "application/json") { Headers = { ContentEncoding = { "gzip" } } };
        Refusal.AssertIs(415, "unsupported_media_type", await Stack.Manager.SendAsync(HttpMethod.Post, "/api/v1/sales", compressed));
    }

    [Theory]
    [InlineData("s4194304")]
    [InlineData("s0")]
    [InlineData("1")]
    [InlineData("%20")]
    [InlineData("%E2%82%AC")]
    [InlineData("..%2fs1")]
    [InlineData("s1%0a")]
    [InlineData("'; drop table sale; --")]
    public async Task An_id_of_any_shape_is_not_found(string id)
    {
        var manager = Stack.Manager;
        foreach (var path in (string[])["", "/stats", "/ledger", "/orders.csv"]) Refusal.AssertIs(404, "sale_not_found", await manager.GetAsync($"/api/v1/sales/{id}{path}"));
        foreach (var path in (string[])["preload", "rebuild", "open", "pause", "resume", "close"])
            Refusal.AssertIs(404, "sale_not_found", await manager.PostAsync($"/api/v1/sales/{id}/{path}"));
        Refusal.AssertIs(404, "sale_not_found", await manager.ChangeStockAsync(id, "a", 1));
        using var csv = new StringContent("sku", Encoding.UTF8, "text/csv");
        Refusal.AssertIs(404, "sale_not_found", await manager.SendAsync(HttpMethod.Post, $"/api/v1/sales/{id}/items:import", csv));
        Assert.InRange((await manager.GetAsync($"/api/v1/sales/{id}{new string('x', 300)}")).Status, 404, 404);
        Refusal.AssertIs(404, "dead_letter_not_found", await manager.PostAsync($"/api/v1/dead-letters/{id}/retry"));
    }

    private async Task AssertRefusedAsync(string body, string fields)
    {
        var before = (await Stack.Manager.GetAsync("/api/v1/sales?limit=1")).Text;
        var answer = Refusal.AssertIs(400, "invalid_request", await PostAsync(body));
        Assert.Equal(fields, string.Join(',', answer.Json.GetProperty("errors").EnumerateArray().Select(error => error.GetProperty("field").GetString())));
        Assert.Equal(before, (await Stack.Manager.GetAsync("/api/v1/sales?limit=1")).Text);
    }

    private async Task<Answer> PostAsync(string body, string type = "application/json")
    {
        using var content = new StringContent(body, Encoding.UTF8, type);
        return await Stack.Manager.SendAsync(HttpMethod.Post, "/api/v1/sales", content);
    }
}
