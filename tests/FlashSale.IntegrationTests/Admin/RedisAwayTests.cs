using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>
/// While Redis does not answer, Admin records an action where it can, says so, and applies it afterwards.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class RedisAwayTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task A_pause_is_recorded_and_applied_when_redis_is_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        Stack.Redis.Freeze();
        try
        {
            foreach (var _ in (int[])[1, 2])
                Assert.Contains("recorded", Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause")).Text);
            Assert.Equal("paused", (await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}")).Member("status"));
            foreach (var path in (string[])["stats", "ledger"]) Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/{path}"));
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild"));
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("buyer").BuyAsync(sale));
    }

    [Fact]
    public async Task A_manager_who_repeats_a_pause_applies_it_without_the_worker()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.Worker.KillAsync();
        try
        {
            // Redis is killed, not frozen. Otherwise the first attempt could wait in a connection and be applied later.
            await Stack.Redis.KillAsync();
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause"));
            await Stack.Redis.StartAsync();
            var again = await Eventually.GetAsync("Redis answers", TimeSpan.FromSeconds(10), () => Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause"), answer => answer.Status != 503);
            Assert.Equal("paused", Manager.Expect(200, again).Member("status"));
            Refusal.AssertIs(409, "sale_state_conflict", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause"));
        }
        finally
        {
            await Stack.Worker.StartAsync();
        }
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
    }

    [Fact]
    public async Task A_change_of_stock_is_recorded_and_told_when_it_is_repeated()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        Stack.Redis.Freeze();
        try
        {
            foreach (var (delta, key) in ((int, string)[])[(5, "more"), (-3, "less")])
                Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, delta, key));
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        foreach (var (delta, key) in ((int, string)[])[(5, "more"), (-3, "less")])
            await Eventually.GetAsync("it is done", TimeSpan.FromSeconds(10), () => Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, delta, key), answer => answer.Status == 200);
        Assert.Equal(12, (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0].GetProperty("remaining").GetInt32());
        await Books.CheckAsync(Stack, sale);
    }
}
