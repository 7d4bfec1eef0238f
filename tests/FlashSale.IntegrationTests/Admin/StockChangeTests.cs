using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>A manager adds and takes away units before and during a sale.</summary>
[Collection<OnOneOfEach>]
public sealed class StockChangeTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task Units_are_added_and_taken_away_and_sold_ones_stay()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Crowd.AllBuyAsync(Stack, sale, users: 4);
        AssertAnswer(15, 11, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 5));
        AssertAnswer(7, 3, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -8));
        Refusal.AssertIs(409, "stock_below_sold", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -4));
        AssertAnswer(4, 0, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -3));
        Refusal.AssertIs(409, "sold_out", await Stack.Shopper("late").BuyAsync(sale));
        AssertAnswer(6, 2, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 2));
        await Eventually.GetAsync("the two new units are for sale", TimeSpan.FromSeconds(2), () => Stack.Shopper("later").BuyAsync(sale, key: "k"), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_same_key_changes_once_and_answers_the_same()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 5, "key-1")));
        Assert.All(answers, answer => AssertAnswer(15, 15, answer));
        await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 7, "key-2");
        AssertAnswer(15, 15, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 5, "\"key-1\""));
        Refusal.AssertIs(422, "idempotency_key_reused", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 6, "key-1"));
        Refusal.AssertIs(409, "stock_below_sold", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -23, "key-3"));
        await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 100);
        Refusal.AssertIs(409, "stock_below_sold", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -23, "key-3"));
        await Stack.Manager.CloseAsync(sale.Id);
        AssertAnswer(15, 15, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 5, "key-1"));
        Refusal.AssertIs(409, "sale_state_conflict", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 5));
    }

    [Fact]
    public async Task Units_that_Redis_has_no_memory_for_beside_those_of_other_sales_are_refused()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        // Redis has 2 GB here, and a unit may need 600 bytes, or 200 once it is sold.
        var refused = await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 50_000_000, "many");
        Refusal.AssertIs(503, "temporarily_unavailable", refused);
        Assert.Contains("of memory left", refused.Member("detail"), StringComparison.Ordinal);
        var other = await Stack.OpenSaleAsync(stock: 3_400_000);
        Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 2_500_000, "few"));
        var third = await Stack.Manager.CreateSaleAsync([new("a", 2_500_000)]);
        Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{third}/preload"));
        await Stack.Manager.CloseAsync(other.Id);
        AssertAnswer(2_500_010, 2_500_010, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 2_500_000, "few"));
        await Books.CheckAsync(Stack, sale);
        await Stack.Manager.CloseAsync(sale.Id);
        await Stack.Manager.PreloadAsync(third);
    }

    [Fact]
    public async Task A_draft_changes_in_postgres_alone()
    {
        var id = await Stack.Manager.CreateSaleAsync([new("a", 10)]);
        AssertAnswer(4, 4, await Stack.Manager.ChangeStockAsync(id, "a", -6));
        Refusal.AssertIs(409, "stock_below_sold", await Stack.Manager.ChangeStockAsync(id, "a", -5));
        Refusal.AssertIs(409, "stock_too_large", await Stack.Manager.ChangeStockAsync(id, "a", 2_000_000_000));
        Assert.Equal(4, (await Stack.Manager.PreloadAsync(id)).Json.GetProperty("units").GetInt32());
        Assert.True((await Stack.Manager.LedgerAsync(id)).GetProperty("balanced").GetBoolean());
    }

    [Fact]
    public async Task A_change_that_is_none_is_refused()
    {
        var id = await Stack.Manager.CreateSaleAsync([new("a", 10)]);
        var path = $"/api/v1/sales/{id}/items/a/stock";
        Refusal.AssertIs(400, "idempotency_key_missing", await Stack.Manager.PostAsync(path, new { delta = 1, reason = "r" }));
        foreach (var key in (string[])[" ", "a b", "\"a", new string('k', 256)])
            Refusal.AssertIs(400, key == " " ? "idempotency_key_missing" : "invalid_request", await Stack.Manager.SendAsync(HttpMethod.Post, path, new { delta = 1, reason = "r" }, key));
        foreach (var body in (object[])[new { delta = 0, reason = "r" }, new { delta = 1.5, reason = "r" }, new { delta = "1", reason = "r" }, new { delta = 3_000_000_000, reason = "r" }, new { delta = 1 }, new { delta = 1, reason = " " }, new { delta = 1, reason = "r", x = 1 }])
            Refusal.AssertIs(400, "invalid_request", await Stack.Manager.SendAsync(HttpMethod.Post, path, body, "key"));
        foreach (var sku in (string[])["b", "%20", "a%0a", "%E2%82%AC", new string('a', 65)])
            Refusal.AssertIs(404, "item_not_found", await Stack.Manager.ChangeStockAsync(id, sku, 1));
        AssertAnswer(11, 11, await Stack.Manager.ChangeStockAsync(id, "a", 1));
    }

    private static void AssertAnswer(int stock, int remaining, Answer answer) =>
        Assert.Equal((stock, remaining), (Manager.Expect(200, answer).Json.GetProperty("stock").GetInt32(), answer.Json.GetProperty("remaining").GetInt32()));
}
