using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>User ids of real identity providers pass through the whole product.</summary>
[Collection<OnOneOfEach>]
public sealed class UserIdTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    public static TheoryData<string> Ids =>
    [
        "auth0|5f7c8ec7c33c6c004bbafe82", "google-oauth2|103547991597142817347", "a+b@shop.example", "MTIzNDU2Nzg5MA==", "https://id.example/u?id=7&x=%2F#me",
        "=cmd|' /C calc'!A0".Replace(" ", "", StringComparison.Ordinal), "a%2Fb", "{\"u\":[\\]}", new string('~', 255),
    ];

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task A_user_of_any_provider_buys_retries_reads_cancels_and_is_blocked(string user)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10, perUserLimit: 2);
        var shopper = Stack.Shopper(user);
        var bought = Manager.Expect(202, await shopper.BuyAsync(sale, "k"));
        Assert.Equal(bought.Text, (await shopper.BuyAsync(sale, "k")).Text);
        Manager.Expect(202, await shopper.BuyAsync(sale, "l"));
        Refusal.AssertIs(409, "purchase_limit_reached", await shopper.BuyAsync(sale, "m"));
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(200, (await shopper.OrderAsync(bought.OrderId)).Status);
        Assert.Equal(2, (await shopper.MyOrdersAsync()).Json.GetProperty("orders").GetArrayLength());
        Manager.Expect(200, await shopper.CancelAsync(bought.OrderId));

        var found = Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/orders?saleId={sale.Id}&userId={Uri.EscapeDataString(user)}"));
        Assert.All(found.Json.GetProperty("orders").EnumerateArray().ToArray(), order => Assert.Equal(user, order.GetProperty("userId").GetString()));
        Assert.Equal(2, found.Json.GetProperty("orders").GetArrayLength());
        var export = (await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/orders.csv")).Text;
        // No cell begins as a formula does.
        Assert.DoesNotMatch("(?m)(^|,)\"?[=+@-]", export);

        Manager.Expect(201, await Stack.Manager.PostAsync("/api/v1/ops/blocklist", new { kind = "user", value = user, reason = "A test blocks" }));
        // Nobody may buy that many units, so until the node has heard of the block it refuses the purchase for that.
        await Eventually.TrueAsync("the user is blocked", TimeSpan.FromSeconds(20), async () => (await shopper.BuyAsync(sale, "n", quantity: 5)).Code == "user_blocked");
        var entry = $"/api/v1/ops/blocklist/user/{Uri.EscapeDataString(user)}";
        Assert.Equal(204, (await Stack.Manager.SendAsync(HttpMethod.Delete, entry)).Status);
        var left = (await Stack.Manager.GetAsync("/api/v1/ops/blocklist?kind=user")).Json.GetProperty("entries");
        Assert.DoesNotContain(left.EnumerateArray().ToArray(), e => e.GetProperty("value").GetString() == user);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_separator_in_a_user_id_makes_no_ones_key_anothers()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var first = Manager.Expect(202, await Stack.Shopper("a").BuyAsync(sale, "b|c"));
        var second = Manager.Expect(202, await Stack.Shopper("a|b").BuyAsync(sale, "c"));
        Assert.NotEqual(first.OrderId, second.OrderId);
        Assert.Equal(404, (await Stack.Shopper("a|b").OrderAsync(first.OrderId)).Status);
        Assert.Equal(2, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_blocked_user_whose_id_looks_escaped_is_not_taken_for_another()
    {
        foreach (var user in (string[])["x/y", "x%2Fy"])
            Manager.Expect(201, await Stack.Manager.PostAsync("/api/v1/ops/blocklist", new { kind = "user", value = user, reason = "A test blocks" }));
        Manager.Expect(204, await Stack.Manager.SendAsync(HttpMethod.Delete, "/api/v1/ops/blocklist/user/x%252Fy"));
        var left = (await Stack.Manager.GetAsync("/api/v1/ops/blocklist?kind=user")).Json.GetProperty("entries").EnumerateArray().Select(entry => entry.GetProperty("value").GetString()).ToArray();
        Assert.Contains("x/y", left);
        Assert.DoesNotContain("x%2Fy", left);
    }
}
