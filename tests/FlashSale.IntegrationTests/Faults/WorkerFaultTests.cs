using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// Workers die and freeze at any moment. The others take over, and no order is lost or counted twice.
/// </summary>
public sealed class WorkerFaultTests(ImpatientRelay fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<ImpatientRelay>
{
    [Fact]
    public async Task Workers_killed_at_random_moments_lose_nothing_and_count_nothing_twice()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        var workers = new[] { (Stack.Workers[0], 1), (Stack.Workers[1], 2) }.Select(async worker =>
        {
            var (process, seed) = worker;
            var moments = new Random(seed);
            for (var kill = 0; kill < 7; kill++)
            {
                // The kill hits a worker that relays or consumes, sometimes at full work and sometimes while it still
                // starts.
                await load.AcceptedMoreAsync(moments.Next(1, 600));
                await process.KillAsync();
                if (kill % 3 == 0) await process.StartAsync();
                else await process.LaunchAsync();
            }
            await process.ReadyAsync(TimeSpan.FromSeconds(40));
        });
        await Task.WhenAll(workers);
        await load.StopAsync();
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(load.Accepted, view.Orders.Count);
        sale.History.AssertEveryoneWasServed();
    }

    [Fact]
    public async Task A_frozen_worker_is_replaced_and_does_no_harm_when_it_wakes()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(300);
        foreach (var worker in Stack.Workers)
        {
            worker.Freeze();
            var mark = load.Accepted;
            await StoredAsync(sale, mark + 1_000, load);
            // The worker now publishes and settles orders that the other worker has long dealt with.
            worker.Thaw();
            await load.AcceptedMoreAsync(300);
        }
        await load.StopAsync();
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(load.Accepted, view.Orders.Count);
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task Workers_killed_between_the_brokers_confirm_and_the_removal_from_the_outbox_double_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 500);
        await Stack.SellIntoBrokerAsync(sale, users: 300);
        // Each order now lies in the broker and in the outbox, so it will be delivered from both.
        Assert.True(await Stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") > 0);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        Assert.Equal(200, await Crowd.BuyAsync(Stack, sale, users: 400, prefix: "rest"));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(500, view.Orders.Count);
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task What_is_sold_while_no_worker_runs_is_stored_when_one_comes()
    {
        var sale = await Stack.OpenSaleAsync(stock: 500);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        Assert.Equal(500, await Crowd.BuyAsync(Stack, sale, users: 600));
        Assert.Empty((await Books.ReadAsync(Stack, sale)).Orders);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        Assert.Equal(500, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task A_worker_that_cannot_reach_the_broker_leaves_the_outbox_to_those_that_can()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        var settings = Stack.Settings();
        // Nobody listens on port 1.
        (settings["RabbitMq__Url"], settings["Relay__ConfirmMilliseconds"]) = ("amqp://nobody:nothing@127.0.0.1:1/nowhere", "500");
        await using var cutOff = new HostProcess("Worker", settings);
        await cutOff.StartAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 100);
        await Eventually.TrueAsync("the worker without a broker holds the outbox", TimeSpan.FromSeconds(20), async () => await Stack.Redis.Client.NumberAsync("EXISTS", sale.RedisPrefix + "relay") == 1);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        Assert.Equal(100, (await Books.CheckAsync(Stack, sale)).Orders.Count);
        Assert.True(cutOff.IsRunning);
    }

    [Fact]
    public async Task A_worker_told_to_stop_leaves_in_order_and_the_other_goes_on()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        foreach (var worker in Stack.Workers)
        {
            await load.AcceptedMoreAsync(300);
            Assert.Equal(0, await worker.StopAsync());
            await StoredAsync(sale, load.Accepted + 300, load);
            await worker.StartAsync();
        }
        await load.StopAsync();
        await Books.CheckAsync(Stack, sale);
    }

    private async Task StoredAsync(Sale sale, int orders, Load load)
    {
        await Eventually.TrueAsync($"{orders} orders are stored, with {load.Accepted} accepted", TimeSpan.FromSeconds(40), async () =>
        {
            await using var command = Stack.Database.Source.CreateCommand("select count(*) from orders where sale_id = $1");
            command.Parameters.AddWithValue(sale.Id);
            return (long)(await command.ExecuteScalarAsync())! >= orders;
        });
    }
}
