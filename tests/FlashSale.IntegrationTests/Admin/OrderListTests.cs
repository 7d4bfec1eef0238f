using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Managers read orders, figures and the audit log.</summary>
[Collection<OnOneOfEach>]
public sealed class OrderListTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task Orders_are_found_by_every_filter_and_page_by_page()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("a", 100, 2), new ItemDraft("b", 100, 2)]);
        for (var i = 0; i < 9; i++) Assert.Equal(202, (await Stack.Shopper($"list-{i % 5}").BuyAsync(sale, sku: i % 2 == 0 ? "a" : "b")).Status);
        await Books.CheckAsync(Stack, sale);

        var all = await FindAsync($"saleId={sale.Id}");
        Assert.Equal(9, all.Count);
        Assert.Equal(all.OrderDescending(StringComparer.Ordinal), all);
        Assert.Equal(5, (await FindAsync($"saleId={sale.Id}&sku=a")).Count);
        Assert.Equal(2, (await FindAsync($"saleId={sale.Id}&userId=list-1")).Count);
        Assert.Single(await FindAsync($"saleId={sale.Id}&userId=list-1&sku=a&status=pending_payment"));
        Assert.Empty(await FindAsync($"saleId={sale.Id}&status=paid"));
        Assert.Empty(await FindAsync($"saleId={sale.Id}&to=2026-01-01T00:00:00Z"));
        Assert.Equal(9, (await FindAsync($"saleId={sale.Id}&from=2026-01-01T00:00:00%2B08:00")).Count);
        Assert.Equal(all, await FindAsync($"saleId={sale.Id}&limit=2"));
        foreach (var query in (string[])["saleId=%00", "sku=a%20b", "userId=%C3%A9", "status=accepted", "from=yesterday", "to=1", "limit=0", "cursor=abc"])
            Refusal.AssertIs(400, "invalid_request", await Stack.Manager.GetAsync($"/api/v1/orders?{query}"));

        var csv = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/orders.csv"));
        Assert.Equal("text/csv; charset=utf-8", csv.Header("content-type"));
        Assert.Equal([0xEF, 0xBB, 0xBF], csv.Body[..3]);
        var lines = csv.Text.TrimStart('\uFEFF').TrimEnd('\n').Split('\n');
        Assert.Equal("orderId,saleId,sku,userId,quantity,amount,currency,status,reason,acceptedAt,placedAt,payBy,paidAt,closedAt", lines[0]);
        Assert.Equal(all.Order(StringComparer.Ordinal), lines.Skip(1).Select(line => line.Split(',')[0]));
    }

    [Fact]
    public async Task The_figures_are_in_units_and_those_of_a_draft_are_nought()
    {
        var draft = await Stack.Manager.CreateSaleAsync([new("a", 7)]);
        var empty = (await Stack.Manager.StatsAsync(draft)).GetProperty("items")[0];
        Assert.Equal((7, 0, 0), (empty.GetProperty("stock").GetInt32(), empty.GetProperty("remaining").GetInt32(), empty.GetProperty("accepted").GetInt32()));

        var sale = await Stack.OpenSaleAsync(stock: 100, perUserLimit: 5);
        foreach (var quantity in (int[])[1, 2, 3]) await Stack.Shopper($"stats-{quantity}").BuyAsync(sale, quantity: quantity);
        await Books.CheckAsync(Stack, sale);
        var stats = await Stack.Manager.StatsAsync(sale.Id);
        var item = stats.GetProperty("items")[0];
        int[] figures = [.. ((string[])["stock", "remaining", "accepted", "persisted", "pendingPayment", "paid", "cancelled", "expired", "rejected", "refunded"]).Select(name => item.GetProperty(name).GetInt32())];
        Assert.Equal([100, 94, 6, 6, 6, 0, 0, 0, 0, 0], figures);
        Assert.Equal((0, 0.0), (stats.GetProperty("outboxLength").GetInt32(), stats.GetProperty("outboxAgeSeconds").GetDouble()));
    }

    [Fact]
    public async Task With_the_worker_gone_the_outbox_grows_and_ages()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Stack.Worker.KillAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 5);
        var stats = await Eventually.GetAsync("the outbox is a second old", TimeSpan.FromSeconds(5), () => Stack.Manager.StatsAsync(sale.Id), stats => stats.GetProperty("outboxAgeSeconds").GetDouble() > 1);
        Assert.InRange(stats.GetProperty("outboxLength").GetInt32(), 1, 5);
        Assert.Equal((5, 0), (stats.GetProperty("items")[0].GetProperty("accepted").GetInt32(), stats.GetProperty("items")[0].GetProperty("persisted").GetInt32()));
        await Stack.Worker.StartAsync();
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_audit_log_says_who_changed_what_from_what_to_what()
    {
        using var manager = new Manager(() => Stack.Admin.Url, Manager.ManagerToken);
        var id = await manager.CreateSaleAsync([new("a", 7)]);
        Manager.Expect(200, await manager.ChangeStockAsync(id, "a", 3));
        await manager.PreloadAsync(id);
        await manager.OpenAsync(id);
        await Stack.Manager.CloseAsync(id);
        var entries = (await manager.GetAsync("/api/v1/audit?limit=100")).Json.GetProperty("entries").EnumerateArray().Where(entry => entry.GetProperty("subject").GetString()!.StartsWith(id, StringComparison.Ordinal)).ToArray();
        Assert.Equal(["sale.close", "sale.open", "sale.preload", "item.change_stock", "sale.create"], entries.Select(entry => entry.GetProperty("action").GetString()));
        Assert.Equal(("test-operator", "operator"), (entries[0].GetProperty("actor").GetString(), entries[0].GetProperty("role").GetString()));
        Assert.Equal(("test-manager", "manager"), (entries[1].GetProperty("actor").GetString(), entries[1].GetProperty("role").GetString()));
        Assert.Equal(("open", "closed"), (entries[0].GetProperty("before").GetProperty("status").GetString(), entries[0].GetProperty("after").GetProperty("status").GetString()));
        Assert.Equal((7, 10, 3), (entries[3].GetProperty("before").GetProperty("stock").GetInt32(), entries[3].GetProperty("after").GetProperty("stock").GetInt32(), entries[3].GetProperty("after").GetProperty("delta").GetInt32()));
        Assert.Equal(7, entries[4].GetProperty("after").GetProperty("units").GetInt32());
        Assert.InRange(DateTimeOffset.Parse(entries[0].GetProperty("at").GetString()!, CultureInfo.InvariantCulture), TimeProvider.System.GetUtcNow().AddMinutes(-1), TimeProvider.System.GetUtcNow().AddMinutes(1));
    }

    // Reads all pages of the query.
    private async Task<List<string>> FindAsync(string query)
    {
        var found = new List<string>();
        for (string? cursor = ""; cursor is not null;)
        {
            var page = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/orders?{query}{(cursor.Length > 0 ? $"&cursor={cursor}" : "")}"));
            found.AddRange(page.Json.GetProperty("orders").EnumerateArray().Select(order => order.GetProperty("orderId").GetString()!));
            cursor = page.Json.GetProperty("nextCursor").GetString();
        }
        return found;
    }
}
