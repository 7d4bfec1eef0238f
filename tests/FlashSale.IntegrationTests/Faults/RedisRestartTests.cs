using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>Redis dies and comes back with all of its data. The sale stops meanwhile and then goes on.</summary>
public sealed class RedisRestartTests(ImpatientRelay fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<ImpatientRelay>
{
    [Fact]
    public async Task Redis_killed_in_mid_sale_costs_no_order_and_sells_none_twice()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        for (var round = 0; round < 3; round++)
        {
            await load.AcceptedMoreAsync(500);
            await Stack.Redis.RestartAsync();
        }
        await load.AcceptedMoreAsync(500);
        await load.StopAsync();
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code is "temporarily_unavailable" or "outcome_unknown"));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.True(view.Orders.Count >= load.Accepted);
        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }

    [Fact]
    public async Task A_restarted_redis_sells_nothing_before_a_worker_has_verified_it()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.CheckAsync(Stack, sale);
        foreach (var worker in Stack.Workers) worker.Freeze();
        await Stack.Redis.RestartAsync();
        for (var i = 0; i < 40; i++) Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper($"early-{i}", i % 2).BuyAsync(sale));
        foreach (var worker in Stack.Workers) worker.Thaw();
        await Stack.SellsOnEveryNodeAsync(sale);
        await Crowd.BuyAsync(Stack, sale, users: 100, prefix: "rest");
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(100, view.Items.Single().Sold);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }

    [Fact]
    public async Task A_redis_that_is_full_sells_nothing_and_sells_on_when_there_is_room()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Books.CheckAsync(Stack, sale);
        var before = await Stack.Redis.DigestAsync(sale.RedisPrefix);
        await Stack.Redis.Client.CallAsync("CONFIG", "SET", "maxmemory", "1");
        try
        {
            for (var i = 0; i < 20; i++) Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper($"full-{i}", i % 2).BuyAsync(sale));
            Assert.Equal(before[sale.RedisPrefix + "stock"], (await Stack.Redis.DigestAsync(sale.RedisPrefix))[sale.RedisPrefix + "stock"]);
        }
        finally
        {
            await Stack.Redis.Client.CallAsync("CONFIG", "SET", "maxmemory", "2gb");
        }
        await Stack.SellsOnEveryNodeAsync(sale);
        await Crowd.AllBuyAsync(Stack, sale, users: 80, prefix: "rest");
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Script_flush_in_a_loop_under_load_fails_no_purchase()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        using var stop = new CancellationTokenSource();
        var flushes = 0;
        var flushing = Task.Run(async () =>
        {
            await using var redis = new RedisClient(Stack.Redis.Endpoint);
            for (; !stop.IsCancellationRequested; flushes++) await redis.CallAsync("SCRIPT", "FLUSH");
        });
        await using (var load = new Load(Stack, sale)) await load.AcceptedMoreAsync(3_000);
        await stop.CancelAsync();
        await flushing;
        Tell($"{flushes} flushes; {sale.History.Summary}");
        Assert.DoesNotContain(sale.History.Attempts, a => a.Answer.Status != 202);
        await Books.CheckAsync(Stack, sale);
    }
}
