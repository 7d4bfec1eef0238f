using System.Globalization;
using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Sales;

/// <summary>Sale pages and the list show shoppers the present state of sales.</summary>
[Collection<OnOneOfEach>]
public sealed class SalePagesTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task A_sale_page_shows_the_sale_its_clock_and_its_items()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 1_000, PerUserLimit: 2, Price: 129_950), new ItemDraft("case.1", 500, Price: 990)]);
        var answer = await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}");
        Assert.Equal(200, answer.Status);
        Assert.StartsWith("application/json", answer.Header("content-type"));
        Assert.Equal(sale.Id, answer.Member("saleId"));
        Assert.Equal("Sale of a test", answer.Member("name"));
        Assert.Equal("open", answer.Member("status"));
        Assert.False(answer.Json.GetProperty("requiresTicket").GetBoolean());
        var opens = Time(answer, "opensAt");
        var closes = Time(answer, "closesAt");
        var now = TimeProvider.System.GetUtcNow();
        Assert.True(opens <= now && now < closes);
        Assert.InRange(Time(answer, "serverTime"), now.AddSeconds(-30), now.AddSeconds(1));

        var items = answer.Json.GetProperty("items").EnumerateArray().ToDictionary(item => item.GetProperty("sku").GetString()!);
        Assert.Equal(2, items.Count);
        Assert.Equal("Item phone-1", items["phone-1"].GetProperty("name").GetString());
        Assert.Equal(129_950, items["phone-1"].GetProperty("price").GetProperty("amount").GetInt64());
        Assert.Equal("CNY", items["phone-1"].GetProperty("price").GetProperty("currency").GetString());
        Assert.Equal(2, items["phone-1"].GetProperty("perUserLimit").GetInt32());
        Assert.All(items.Values, item => Assert.Equal("available", item.GetProperty("availability").GetString()));
    }

    [Fact]
    public async Task A_page_is_not_sent_twice_to_whoever_has_it()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var anyone = Stack.Shopper("anyone");
        foreach (var path in (string[])["/api/v1/sales", $"/api/v1/sales/{sale.Id}"])
        {
            var first = await anyone.GetAsync(path);
            var tag = first.Header("etag");
            Assert.Matches("^(W/)?\"[^\"]+\"$", tag);
            Assert.Matches(@"^public, ?max-age=\d+$", first.Header("cache-control"));
            foreach (var condition in (string[])[tag!, $"\"other\", {tag}", "*"])
            {
                // The page of a live sale may have changed between the two requests. Then its new tag holds.
                var again = await anyone.GetAsync(path, ("If-None-Match", condition));
                if (again.Status == 200) again = await anyone.GetAsync(path, ("If-None-Match", condition.Replace(tag!, again.Header("etag"), StringComparison.Ordinal)));
                Assert.Equal(304, again.Status);
                Assert.Empty(again.Body);
                Assert.NotNull(again.Header("etag"));
            }
            Assert.Equal(200, (await anyone.GetAsync(path, ("If-None-Match", "\"other\""))).Status);
        }
    }

    [Fact]
    public async Task The_list_asks_Redis_for_no_items_stock_and_tells_all_the_same_what_is_sold_out()
    {
        var sold = await Stack.OpenSaleAsync([new ItemDraft("a", 1), new ItemDraft("b", 1)]);
        var closed = await Stack.OpenSaleAsync(stock: 5);
        await Stack.Manager.CloseAsync(closed.Id);
        await Stack.Manager.PreloadAsync(await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)]));
        foreach (var item in sold.Items) Assert.Equal(202, (await Stack.Shopper("buyer").BuyAsync(sold, sku: item.Sku)).Status);
        await ListedAsync(sold.Id, "sold_out");
        await ListedAsync(closed.Id, "closed");

        // Workers compare their books now and then, and read all stock for that.
        await Stack.FreezeWorkersAsync();
        try
        {
            await Stack.Redis.Client.CallAsync("CONFIG", "RESETSTAT");
            // The test asks for longer than a node keeps its last look at Redis.
            for (var until = Environment.TickCount64 + 1_500; Environment.TickCount64 < until;)
                Assert.Equal(200, (await Stack.Shopper("anyone").GetAsync("/api/v1/sales")).Status);
            Assert.DoesNotContain("cmdstat_hgetall", await Stack.Redis.Client.TextAsync("INFO", "commandstats"), StringComparison.Ordinal);
        }
        finally
        {
            foreach (var worker in Stack.Workers) worker.Thaw();
        }
        Assert.Equal(200, (await Stack.Manager.ChangeStockAsync(sold.Id, "b", +1)).Status);
        await ListedAsync(sold.Id, "open");
        await Books.CheckAsync(Stack, sold);
    }

    [Fact]
    public async Task A_stock_change_publishes_no_sale_and_moves_what_is_low()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("a", 1_000, PerUserLimit: 1_000), new ItemDraft("b", 10)]);
        await Stack.Shopper("buyer").BuyAsync(sale, sku: "a", quantity: 950);
        await AvailabilityAsync(sale, "open", "low", "available");
        var published = await Stack.Redis.Client.TextAsync("HGET", "fs:catalog", "versions");
        Assert.Equal(200, (await Stack.Manager.ChangeStockAsync(sale.Id, "b", +90)).Status);
        // Ten units are left then. They are few of a hundred, but all of the ten that were published.
        await Crowd.EachAsync(Enumerable.Range(0, 90), 8, i => Stack.Shopper($"user-{i}").BuyAsync(sale, sku: "b"));
        await AvailabilityAsync(sale, "open", "low", "low");
        Assert.Equal(published, await Stack.Redis.Client.TextAsync("HGET", "fs:catalog", "versions"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_page_that_stays_the_same_tells_the_time_of_each_answer()
    {
        const string Confusing = "\"serverTime\":\"\"";
        var sale = await Stack.OpenSaleAsync([new ItemDraft("phone-1", 10, Name: Confusing)]);
        foreach (var path in (string[])["/api/v1/sales", $"/api/v1/sales/{sale.Id}"])
        {
            // The test looks for longer than a node keeps a page.
            var until = TimeProvider.System.GetUtcNow().AddSeconds(1.5);
            for (var asked = until.AddSeconds(-1.5); asked < until; asked = TimeProvider.System.GetUtcNow())
            {
                var answer = await Stack.Shopper("anyone").GetAsync(path);
                Assert.Equal(answer.Body.Length, int.Parse(answer.Header("content-length")!, CultureInfo.InvariantCulture));
                var page = answer.Json.TryGetProperty("sales", out var list) ? list.EnumerateArray().Single(one => one.GetProperty("saleId").GetString() == sale.Id) : answer.Json;
                Assert.InRange(page.GetProperty("serverTime").GetDateTimeOffset(), asked.AddMilliseconds(-200), TimeProvider.System.GetUtcNow().AddMilliseconds(200));
                if (page.TryGetProperty("items", out var items)) Assert.Equal(Confusing, items[0].GetProperty("name").GetString());
            }
        }
    }

    [Fact]
    public async Task A_change_of_the_sale_changes_the_page_and_its_tag()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var open = await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}");
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        var paused = await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}", ("If-None-Match", open.Header("etag")!));
        Assert.Equal(200, paused.Status);
        Assert.NotEqual(open.Header("etag"), paused.Header("etag"));
        await Stack.Manager.CloseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "closed");
    }

    [Fact]
    public async Task What_is_nearly_sold_is_low_and_what_is_sold_is_sold_out()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("a", 1_000, PerUserLimit: 1_000), new ItemDraft("b", 10)]);
        await Stack.Shopper("buyer").BuyAsync(sale, sku: "a", quantity: 999);
        await AvailabilityAsync(sale, "open", "low", "available");
        await Stack.Shopper("other").BuyAsync(sale, sku: "a");
        await AvailabilityAsync(sale, "open", "sold_out", "available");
        await Crowd.EachAsync(Enumerable.Range(0, 10), 10, i => Stack.Shopper($"user-{i}").BuyAsync(sale, sku: "b"));
        await AvailabilityAsync(sale, "sold_out", "sold_out", "sold_out");
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_list_shows_published_sales_and_no_draft()
    {
        var draft = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)]);
        var open = await Stack.OpenSaleAsync(stock: 10);
        var list = await Stack.Shopper("anyone").GetAsync("/api/v1/sales");
        Assert.Equal(200, list.Status);
        var ids = list.Json.GetProperty("sales").EnumerateArray().Select(sale => sale.GetProperty("saleId").GetString()).ToArray();
        Assert.Contains(open.Id, ids);
        Assert.DoesNotContain(draft, ids);
        Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{draft}"));
        Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("anyone").GetAsync("/api/v1/sales/unknown"));
    }

    private Task<Answer> ListedAsync(string saleId, string status) => Eventually.GetAsync($"{saleId} is listed as {status}", TimeSpan.FromSeconds(10),
        () => Stack.Shopper("anyone").GetAsync("/api/v1/sales"),
        list => list.Json.GetProperty("sales").EnumerateArray().Any(sale => sale.GetProperty("saleId").GetString() == saleId && sale.GetProperty("status").GetString() == status));

    private async Task AvailabilityAsync(Sale sale, string status, params string[] availability) =>
        await Eventually.GetAsync($"the page shows {status}: {string.Join(' ', availability)}", TimeSpan.FromSeconds(5),
            () => Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}"),
            page => page.Member("status") == status && page.Json.GetProperty("items").EnumerateArray().Select(Availability).SequenceEqual(availability));

    private static string Availability(JsonElement item) => item.GetProperty("availability").GetString()!;

    private static DateTimeOffset Time(Answer answer, string member) => DateTimeOffset.Parse(answer.Member(member)!, CultureInfo.InvariantCulture);
}
