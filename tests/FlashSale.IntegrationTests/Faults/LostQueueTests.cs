using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// A purged or deleted queue, or a broker that fails only the workers' publishes, costs a delay but no order.
/// </summary>
public sealed class LostQueueTests(ImpatientRelay fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<ImpatientRelay>
{
    [Fact]
    public async Task Orders_in_a_queue_that_is_deleted_arrive_all_the_same()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10_000);
        await Stack.SellIntoBrokerAsync(sale, users: 300);
        await Stack.Broker.DeleteQueuesAsync();
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        await Crowd.AllBuyAsync(Stack, sale, users: 300, prefix: "after");
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(600, view.Orders.Count);
    }

    [Fact]
    public async Task A_queue_that_is_purged_and_deleted_again_and_again_under_load_loses_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        for (var round = 0; round < 10; round++)
        {
            await load.AcceptedMoreAsync(150);
            await Stack.Broker.PurgeAsync();
            if (round % 4 == 3) await Stack.Broker.DeleteQueuesAsync();
            // The queue must be there again before the test can delete it once more.
            if (round % 4 == 3) await Eventually.TrueAsync("a worker has made its queue again", TimeSpan.FromSeconds(60), async () => (await Stack.Broker.QueuesAsync()).Count > 0);
        }
        await load.StopAsync();
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(load.Accepted, view.Orders.Count);
        sale.History.AssertEveryoneWasServed();
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }

    [Fact]
    public async Task Workers_that_cannot_consume_although_the_broker_answers_end_to_be_started_again()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.CheckAsync(Stack, sale);
        foreach (var worker in Stack.Workers) worker.Freeze();
        await Stack.Broker.DeleteQueuesAsync();
        await using (var connection = await Stack.Broker.ConnectAsync())
        await using (var channel = await connection.CreateChannelAsync())
        {
            // While a queue of another kind has this name, nobody can consume.
            await channel.QueueDeclareAsync("flashsale-reservations", durable: true, exclusive: false, autoDelete: false);
            try
            {
                foreach (var worker in Stack.Workers) worker.Thaw();
                await Crowd.AllBuyAsync(Stack, sale, users: 50, prefix: "meanwhile");
                await Task.WhenAll(Stack.Workers.Select(worker => worker.ExitAsync(TimeSpan.FromSeconds(120))));
            }
            finally
            {
                await channel.QueueDeleteAsync("flashsale-reservations", ifUnused: false, ifEmpty: false);
            }
        }
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        Assert.Equal(100, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    [Fact]
    public async Task Workers_whose_publishes_all_fail_although_the_broker_confirms_those_of_others_end_to_be_started_again()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await EachWorkerRelaysAsync(sale, users: 25);
        await Books.CheckAsync(Stack, sale);
        await using (var connection = await Stack.Broker.ConnectAsync())
        await using (var channel = await connection.CreateChannelAsync())
        {
            // An exchange of another kind under the same name has no bindings, so the broker returns the relay's
            // publishes.
            await channel.ExchangeDeleteAsync(Broker.Exchange);
            await channel.ExchangeDeclareAsync(Broker.Exchange, "direct", durable: true, autoDelete: false);
            try
            {
                await Crowd.AllBuyAsync(Stack, sale, users: 50, prefix: "meanwhile");
                // A worker gives up its lease when its publish is returned, so the workers take turns.
                Assert.All(await Task.WhenAll(Stack.Workers.Select(worker => worker.ExitAsync(TimeSpan.FromSeconds(180)))), code => Assert.Equal(1, code));
                Assert.All(Stack.Workers, worker => Assert.Contains("confirms what others publish", worker.Output, StringComparison.Ordinal));
            }
            finally
            {
                await channel.ExchangeDeleteAsync(Broker.Exchange);
            }
        }
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        Assert.Equal(100, (await Books.CheckAsync(Stack, sale)).Orders.Count);
    }

    // Lets each worker relay once. A worker that never got a confirm does not end, since a new process would fare no
    // better.
    private async Task EachWorkerRelaysAsync(Sale sale, int users)
    {
        foreach (var (worker, number) in Stack.Workers.Select((worker, number) => (worker, number)))
        {
            await Stack.FreezeWorkersAsync();
            worker.Thaw();
            await Crowd.AllBuyAsync(Stack, sale, users, prefix: $"of-{number}");
            await Eventually.TrueAsync($"worker {number} relays", TimeSpan.FromSeconds(60), async () => await Figures.OfAsync(worker, "flashsale_relayed_reservations_total") > 0);
            foreach (var frozen in Stack.Workers) frozen.Thaw();
        }
    }
}
