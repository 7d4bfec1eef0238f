using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>While the broker or Postgres is away, purchases go on. All orders arrive when it is back.</summary>
public sealed class ServersAwayTests(OwnServers fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OwnServers>
{
    [Fact]
    public async Task With_the_broker_away_the_sale_goes_on_and_all_orders_arrive_when_it_is_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(300);
        await Stack.RabbitMq!.KillAsync();
        await load.AcceptedMoreAsync(1_000);
        Assert.True(await Stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") > 0);
        await Stack.RabbitMq.StartAsync();
        await load.AcceptedMoreAsync(300);
        await load.StopAsync();
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(load.Accepted, view.Orders.Count);
        sale.History.AssertEveryoneWasServed();
    }

    [Fact]
    public async Task With_postgres_away_the_sale_goes_on_and_all_orders_arrive_when_it_is_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(300);
        await Stack.Postgres!.KillAsync();
        await load.AcceptedMoreAsync(1_000);
        await Stack.StartPostgresAsync();
        await load.AcceptedMoreAsync(300);
        await load.StopAsync();
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(load.Accepted, view.Orders.Count);
        sale.History.AssertEveryoneWasServed();
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task With_postgres_away_for_long_what_the_queue_still_holds_is_not_published_again_and_again()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.KillAsync();
        var before = await RelayedAsync();
        var bought = 0;
        // Sell more packs than the workers hold unacknowledged. The broker cannot tell those packs from lost ones.
        await Eventually.TrueAsync("packs wait in the queue", TimeSpan.FromSeconds(60), async () =>
        {
            Assert.Equal(202, (await Stack.Shopper($"away-{bought++}").BuyAsync(sale)).Status);
            return await Stack.Broker.WaitingAsync("flashsale-reservations") > 0;
        });
        await Eventually.TrueAsync("all were handed to the broker", TimeSpan.FromSeconds(30), async () => await RelayedAsync() >= before + bought);
        var relayed = await RelayedAsync();
        // Wait several times as long as the relay leaves an unsettled entry alone.
        await Task.Delay(TimeSpan.FromSeconds(10));
        Assert.Equal(relayed, await RelayedAsync());
        await Stack.StartPostgresAsync();
        Assert.Equal(50 + bought, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task With_postgres_away_an_order_in_flight_is_readable_and_what_cannot_be_known_is_not_denied()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        var stored = await Stack.Shopper("early").BuyAsync(sale);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.StopAsync();
        var inflight = await Stack.Shopper("late").BuyAsync(sale);
        Assert.Equal("accepted", (await Stack.Shopper("late", node: 1).OrderAsync(inflight.OrderId)).Member("status"));
        Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("early").OrderAsync(stored.OrderId));
        Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("early").MyOrdersAsync());
        await Stack.StartPostgresAsync();
        await Eventually.GetAsync("the stored order is readable again", TimeSpan.FromSeconds(20), () => Stack.Shopper("early").OrderAsync(stored.OrderId), answer => answer.Status == 200);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_node_started_while_postgres_and_the_broker_are_away_sells()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Stack.Postgres!.KillAsync();
        await Stack.RabbitMq!.KillAsync();
        await Stack.Apis[1].RestartAsync();
        for (var i = 0; i < 20; i++) Assert.Equal(202, (await Stack.Shopper($"user-{i}", node: 1).BuyAsync(sale)).Status);
        await Task.WhenAll(Stack.StartPostgresAsync(), Stack.RabbitMq.StartAsync());
        Assert.Equal(20, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_worker_started_before_postgres_and_the_broker_gets_to_work_when_they_come()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        await Crowd.AllBuyAsync(Stack, sale, users: 100);
        await Stack.Postgres!.KillAsync();
        await Stack.RabbitMq!.KillAsync();
        await Task.WhenAll(Stack.Workers.Select(worker => worker.LaunchAsync()));
        await Task.WhenAll(Stack.StartPostgresAsync(), Stack.RabbitMq.StartAsync());
        await Task.WhenAll(Stack.Workers.Select(worker => worker.ReadyAsync(TimeSpan.FromSeconds(40))));
        Assert.Equal(100, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    private async Task<double> RelayedAsync() =>
        (await Task.WhenAll(Stack.Workers.Select(worker => Figures.OfAsync(worker, "flashsale_relayed_reservations_total")))).Sum();
}
