using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// Redis loses data in a restart or while it runs, with orders in Postgres and in the broker. Nothing is sold until a
/// worker has rebuilt the sale. Then the sale sells exactly the rest, and late orders are settled without overselling.
/// </summary>
public sealed class ForgetfulRedisTests(ImpatientRelay fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<ImpatientRelay>
{
    [Fact]
    public async Task A_redis_that_lost_everything_sells_exactly_the_rest()
    {
        var sale = await SoldInPartAsync();
        await Stack.SellIntoBrokerAsync(sale, users: 50);
        await Stack.Redis.KillAsync();
        Stack.Redis.WipeFiles();
        await Stack.Redis.StartAsync();
        await NothingIsSoldAsync(sale);
        await StartWorkersAsync();
        await StoredAsync(sale, 250);
        await TheRestIsSoldAsync(sale, rest: 250);
    }

    [Fact]
    public async Task A_redis_that_is_flushed_while_it_runs_sells_exactly_the_rest()
    {
        var sale = await SoldInPartAsync();
        await Stack.SellIntoBrokerAsync(sale, users: 50);
        await Stack.Redis.Client.CallAsync("FLUSHALL");
        await NothingIsSoldAsync(sale);
        await StartWorkersAsync();
        await StoredAsync(sale, 250);
        await TheRestIsSoldAsync(sale, rest: 250);
    }

    [Fact]
    public async Task Sales_that_are_not_published_again_yet_are_not_unknown()
    {
        var (sale, other) = (await SoldInPartAsync(), await Stack.OpenSaleAsync(stock: 10));
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        await Stack.Redis.Client.CallAsync("FLUSHALL");
        // A change publishes its own sale and no other.
        await Stack.Manager.PauseAsync(other.Id);
        await Stack.StatusOnEveryNodeAsync(other.Id, "paused");
        await NothingIsSoldAsync(sale);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        await StartWorkersAsync();
        await TheRestIsSoldAsync(sale, rest: 300);
    }

    [Fact]
    public async Task A_redis_whose_file_was_cut_sells_exactly_the_rest()
    {
        var sale = await SoldInPartAsync();
        var cut = Stack.Redis.FileLength();
        await Crowd.AllBuyAsync(Stack, sale, users: 100, prefix: "forgotten");
        await Books.CheckAsync(Stack, sale);
        await Stack.SellIntoBrokerAsync(sale, users: 50);
        await Stack.Redis.KillAsync();
        Stack.Redis.CutFile(cut);
        await Stack.Redis.StartAsync();
        await NothingIsSoldAsync(sale);
        await StartWorkersAsync();
        await StoredAsync(sale, 350);
        await TheRestIsSoldAsync(sale, rest: 150);
    }

    [Fact]
    public async Task A_cut_in_the_middle_of_settling_neither_loses_nor_doubles_an_order()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using (var load = new Load(Stack, sale))
        {
            await load.AcceptedMoreAsync(600);
            var cut = Stack.Redis.FileLength();
            await load.AcceptedMoreAsync(600);
            await Stack.Redis.KillAsync();
            // The cut removes acceptances and settlements in any order, and tears the last command before it.
            Stack.Redis.CutFile(cut - 3);
            await Stack.Redis.StartAsync();
            await load.AcceptedMoreAsync(600);
        }
        // A shopper without a known outcome came again. If the first order was stored after all, the second is its
        // duplicate.
        await Books.CheckAsync(Stack, sale, Loss.Acceptances | Loss.Rejections);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Orders_that_come_late_to_a_sale_that_sold_on_are_settled_without_oversell(int quantity)
    {
        var sale = await SoldInPartAsync(perUserLimit: quantity);
        await Stack.SellIntoBrokerAsync(sale, users: 100);
        await Stack.Redis.Client.CallAsync("FLUSHALL");
        await StartWorkersAsync();
        // Sell at once, so that strangers compete with the late orders for the last units.
        for (var round = 0; round < 20; round++) await Crowd.BuyAsync(Stack, sale, users: 100, prefix: $"rest-{round}", quantity: quantity);
        await Eventually.TrueAsync("the sale is sold out", TimeSpan.FromSeconds(30), async () =>
        {
            await Crowd.BuyAsync(Stack, sale, users: 50, prefix: $"more-{Guid.NewGuid():N}");
            return (await Books.ReadAsync(Stack, sale)).Items.Single().Sold == 500;
        });
        await Books.CheckAsync(Stack, sale, Loss.Acceptances | Loss.Rejections);
    }

    [Fact]
    public async Task Redis_flushed_again_and_again_under_load_oversells_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 3_000);
        await using (var load = new Load(Stack, sale))
        {
            for (var round = 0; round < 4; round++)
            {
                await load.AcceptedMoreAsync(300);
                await Stack.Redis.Client.CallAsync("FLUSHALL");
            }
            await load.AcceptedMoreAsync(300);
        }
        var view = await Books.CheckAsync(Stack, sale, Loss.Acceptances | Loss.Rejections);
        Assert.InRange(view.Items.Single().Sold, 1, 3_000);
    }

    // Sells 200 of 500 units, and waits until the orders are stored and settled.
    private async Task<Sale> SoldInPartAsync(int perUserLimit = 1)
    {
        var sale = await Stack.OpenSaleAsync(stock: 500, perUserLimit: perUserLimit);
        await Crowd.AllBuyAsync(Stack, sale, users: 200, prefix: "stored");
        await Books.CheckAsync(Stack, sale);
        return sale;
    }

    private async Task NothingIsSoldAsync(Sale sale)
    {
        var buyer = sale.History.Accepted[0];
        for (var i = 0; i < 60; i++)
        {
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper($"early-{i}", i % 2).BuyAsync(sale));
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper(buyer.UserId, i % 2).BuyAsync(sale, "another-key"));
        }
    }

    private Task StartWorkersAsync() => Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));

    private async Task StoredAsync(Sale sale, int orders) =>
        await Eventually.TrueAsync($"{orders} orders are stored", TimeSpan.FromSeconds(60), async () => (await Books.ReadAsync(Stack, sale)).Orders.Count == orders);

    private async Task TheRestIsSoldAsync(Sale sale, int rest)
    {
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(rest, await Crowd.BuyAsync(Stack, sale, users: rest + 100, prefix: "rest"));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(500, view.Items.Single().Sold);
        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }
}
