using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// A sale is rebuilt, or Redis forgets, in the middle of payments, cancellations, expiries and returns.
/// </summary>
public sealed class RebuildInLifeTests(Lively fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Lively>
{
    [Fact]
    public async Task Rebuilt_again_and_again_while_orders_are_paid_cancelled_and_expire_a_sale_loses_no_unit()
    {
        const int Stock = 1_500;
        var sale = await Stack.OpenSaleAsync(Stock);
        await Crowd.AllBuyAsync(Stack, sale, users: 1_000, atATime: 64);
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        await DueInAsync(sale, 3_000);
        var orders = sale.History.Accepted.ToArray();
        var life = Crowd.EachAsync(Enumerable.Range(0, 600), 4, async i =>
        {
            var told = orders[i];
            if (i % 3 == 0) await PayAsync(told.Answer.OrderId);
            else await Stack.Shopper(told.UserId, i % 2).CancelAsync(told.Answer.OrderId);
            if (i % 6 == 0) await Stack.Manager.RefundAsync(told.Answer.OrderId);
        });
        for (var round = 0; round < 6 || !life.IsCompleted; round++)
        {
            await Stack.Manager.PauseAsync(sale.Id);
            await Stack.Manager.RebuildAsync(sale.Id);
            await Stack.Manager.ResumeAsync(sale.Id);
            await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
            await Crowd.AllBuyAsync(Stack, sale, users: 20, prefix: $"round-{round}");
        }
        await life;
        await NonePendingBeforeAsync(orders);
        var view = await Books.CheckAsync(Stack, sale);
        Tell(string.Join(", ", view.Orders.CountBy(order => order.Status).Select(count => $"{count.Value} {count.Key}")));
        Assert.True(await ScalarAsync<bool>("select exists (select 1 from stock_return where sale_id = @Id and state = 'superseded')", new { sale.Id }), "No rebuild met a return: the test has shown nothing.");
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task A_redis_that_forgets_returns_it_had_taken_is_rebuilt_and_they_count_once()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 100);
        await Books.CheckAsync(Stack, sale);
        var cut = Stack.Redis.FileLength();
        var orders = sale.History.Accepted.ToArray();
        foreach (var told in orders[..40]) Assert.Equal(200, (await Stack.Shopper(told.UserId).CancelAsync(told.Answer.OrderId)).Status);
        await Books.CheckAsync(Stack, sale);
        await Stack.Redis.KillAsync();
        Stack.Redis.CutFile(cut);
        await Stack.Redis.StartAsync();
        await Stack.SellsOnEveryNodeAsync(sale);
        // Units that come back to a sold-out item rest for half a second.
        await Eventually.GetAsync("the units are for sale again", TimeSpan.FromSeconds(10), () => Stack.Shopper("first-again").BuyAsync(sale), answer => answer.Status == 202);
        Assert.Equal(39, await Crowd.BuyAsync(Stack, sale, users: 60, prefix: "second"));
        await Books.CheckAsync(Stack, sale);
        // Shoppers that cancelled may buy again while units last, since their counts were given back.
        await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 1);
        await Eventually.GetAsync("one who cancelled buys again", TimeSpan.FromSeconds(5), () => Stack.Shopper(orders[0].UserId).BuyAsync(sale), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_sale_that_is_locked_keeps_no_other_from_expiring_its_orders_and_getting_its_units_back()
    {
        var locked = await Stack.OpenSaleAsync(stock: 20);
        var free = await Stack.OpenSaleAsync(stock: 20);
        foreach (var sale in (Sale[])[locked, free])
        {
            await Crowd.AllBuyAsync(Stack, sale, users: 20);
            await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        }
        // The locked sale gets a waiting return and due orders. Its lock is the one that a rebuild holds.
        await Stack.FreezeWorkersAsync();
        var told = locked.History.Accepted[0];
        Assert.Equal(200, (await Stack.Shopper(told.UserId).CancelAsync(told.Answer.OrderId)).Status);
        await using var rebuild = await Stack.Database.Source.OpenConnectionAsync();
        await using (var held = await rebuild.BeginTransactionAsync())
        {
            await rebuild.ExecuteAsync("select pg_advisory_xact_lock(1, number) from sale where sale_id = @Id", new { locked.Id });
            await DueInAsync(locked, 0);
            foreach (var worker in Stack.Workers) worker.Thaw();
            await DueInAsync(free, 0);
            await NonePendingAsync(free);
            await Eventually.TrueAsync("the units of the other sale are back", TimeSpan.FromSeconds(30), async () =>
                await Stack.Redis.Client.NumberAsync("HGET", free.RedisPrefix + "stock", free.Sku) == 20);
            await held.RollbackAsync();
        }
        await NonePendingAsync(locked);
        foreach (var sale in (Sale[])[locked, free]) Assert.Equal(20, (await Books.CheckAsync(Stack, sale)).Remaining[sale.Sku]);
    }

    private Task<TimeSpan> NonePendingBeforeAsync(IReadOnlyList<Attempt> orders) => Eventually.TrueAsync("no order of the first thousand waits for payment", TimeSpan.FromSeconds(60), async () =>
        !await ScalarAsync<bool>("select exists (select 1 from orders where order_id = any (@ids) and status = 'pending_payment')", new { ids = orders.Select(told => told.Answer.OrderId).ToArray() }));
}
