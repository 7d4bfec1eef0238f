using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// Workers die at every moment of expiry and return, and stores go away in between. Every unit is accounted for once.
/// </summary>
public sealed class LifeFaultTests(LivelyOnOwnServers fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<LivelyOnOwnServers>
{
    [Fact]
    public async Task Workers_killed_fifty_times_while_orders_expire_and_are_cancelled_lose_no_unit_and_return_none_twice()
    {
        const int Stock = 4_000, KillsEach = 26;
        var sale = await Stack.OpenSaleAsync(Stock);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(300);
        using var over = new CancellationTokenSource();
        // All the time, orders fall due and shoppers cancel theirs.
        var life = Task.Run(async () =>
        {
            var random = new Random(7);
            while (!over.IsCancellationRequested)
            {
                await TryAsync(() => ExecuteAsync("""
                    update orders set pay_by = clock_timestamp() - interval '6 s'
                    where order_id in (select order_id from orders where sale_id = @Id and status = 'pending_payment' and pay_by > now() order by random() limit 40)
                    """, new { sale.Id }));
                var told = sale.History.Accepted;
                await Crowd.EachAsync(Enumerable.Range(0, 10).Select(_ => told[random.Next(told.Count)]).ToArray(), 5,
                    order => Stack.Shopper(order.UserId, random.Next(2)).CancelAsync(order.Answer.OrderId));
            }
        });
        var kills = Stack.Workers.Select(async (worker, i) =>
        {
            var moments = new Random(i);
            for (var kill = 0; kill < KillsEach; kill++)
            {
                // A worker is at work after about half a second. Some die while they start, most in the middle of some
                // work.
                await Task.Delay(moments.Next(300, 1_200));
                await worker.KillAsync();
                await worker.LaunchAsync();
            }
            await worker.ReadyAsync(TimeSpan.FromSeconds(60));
        }).ToArray();
        for (var round = 0; round < 3; round++)
        {
            await load.AcceptedMoreAsync(20, seconds: 60);
            await Stack.Redis.RestartAsync();
            await load.AcceptedMoreAsync(20, seconds: 60);
            await Stack.Postgres!.KillAsync();
            await Stack.StartPostgresAsync();
        }
        await Task.WhenAll(kills);
        await load.StopAsync();
        await over.CancelAsync();
        await life;
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(60));
        await DueInAsync(sale, 0);
        await NonePendingAsync(sale);
        var view = await Books.CheckAsync(Stack, sale);
        Tell($"{2 * KillsEach} kills; {string.Join(", ", view.Orders.CountBy(order => order.Status).Select(count => $"{count.Value} {count.Key}"))}");
        Assert.Equal(Stock, view.Remaining[sale.Sku]);
        Assert.Contains(view.Orders, order => order.Status == "cancelled");
        Assert.Contains(view.Orders, order => order.Status == "expired");
    }

    [Fact]
    public async Task With_redis_away_units_wait_for_it_and_the_books_balance_before_and_after()
    {
        var sale = await Stack.OpenSaleAsync(stock: 50);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        await Stack.FreezeWorkersAsync();
        foreach (var told in sale.History.Accepted.Take(20)) Assert.Equal(200, (await Stack.Shopper(told.UserId).CancelAsync(told.Answer.OrderId)).Status);
        // Postgres has given these units back and Redis has not taken them yet, so they count as in flight.
        var line = (await Stack.Manager.LedgerAsync(sale.Id)).GetProperty("items")[0];
        Assert.Equal((0, 20, 30, 0), (line.GetProperty("remaining").GetInt32(), line.GetProperty("inFlight").GetInt32(), line.GetProperty("live").GetInt32(), line.GetProperty("difference").GetInt32()));
        await Stack.Redis.KillAsync();
        foreach (var worker in Stack.Workers) worker.Thaw();
        await Stack.Redis.StartAsync();
        await Stack.SellsOnEveryNodeAsync(sale);
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(20, view.Remaining[sale.Sku]);
        // Units that come back to a sold-out item rest for half a second.
        await Eventually.GetAsync("the units are for sale again", TimeSpan.FromSeconds(10), () => Stack.Shopper("first-again").BuyAsync(sale), answer => answer.Status == 202);
        Assert.Equal(19, await Crowd.BuyAsync(Stack, sale, users: 40, prefix: "second"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_broker_that_is_away_gives_birth_to_no_expired_order()
    {
        var sale = await Stack.OpenSaleAsync(stock: 20, payWithinSeconds: 2);
        await Stack.RabbitMq!.KillAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        // Wait longer than the time to pay and the grace. The time to pay must not have begun.
        await Task.Delay(TimeSpan.FromSeconds(8));
        await Stack.RabbitMq.StartAsync();
        await Eventually.TrueAsync("all orders are stored", TimeSpan.FromSeconds(60), async () => await ScalarAsync<long>("select count(*) from orders where sale_id = @Id", new { sale.Id }) == 20);
        Assert.True(await ScalarAsync<bool>("select bool_and(pay_by = placed_at + interval '2 s' and (closed_at is null or closed_at >= pay_by + interval '5 s')) from orders where sale_id = @Id", new { sale.Id }));
        Assert.True(await ScalarAsync<bool>("select min(placed_at - accepted_at) > interval '5 s' from orders where sale_id = @Id", new { sale.Id }));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_postgres_restored_to_an_earlier_point_is_noticed_and_nothing_is_sold_until_an_operator_rebuilds()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 30);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.StopAsync();
        await Stack.Postgres.BackUpAsync();
        await Stack.StartPostgresAsync();
        // The restore loses these orders, as everything after the backup.
        await Crowd.AllBuyAsync(Stack, sale, users: 20, prefix: "lost");
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres.StopAsync();
        await Stack.Postgres.RestoreAsync();
        await Stack.StartPostgresAsync();

        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("hopeful").BuyAsync(sale));
        Refusal.AssertIs(409, "sale_state_conflict", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/resume"));
        await Stack.Manager.RebuildAsync(sale.Id);
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        Assert.Equal(70, await Crowd.BuyAsync(Stack, sale, users: 80, prefix: "after"));
        var view = await Books.CheckAsync(Stack, sale, Loss.Acceptances);
        Assert.Equal(100, view.Items.Single().Sold);
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from audit_log where action = 'sale.hold' and subject = @Id", new { sale.Id }));
    }

    [Fact]
    public async Task A_postgres_restored_to_before_a_sale_was_loaded_holds_it_and_the_sales_that_it_does_not_know()
    {
        ItemDraft[] items = [new("phone-1", 50)];
        var sale = new Sale(await Stack.Manager.CreateSaleAsync(items), items);
        await Stack.Postgres!.StopAsync();
        await Stack.Postgres.BackUpAsync();
        await Stack.StartPostgresAsync();
        await Stack.Manager.PreloadAsync(sale.Id);
        await Stack.Manager.OpenAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        var unknown = await Stack.OpenSaleAsync(stock: 50);
        foreach (var sold in (Sale[])[sale, unknown])
        {
            await Crowd.AllBuyAsync(Stack, sold, users: 10);
            await Books.CheckAsync(Stack, sold);
        }
        await Stack.Postgres.StopAsync();
        await Stack.Postgres.RestoreAsync();
        await Stack.StartPostgresAsync();

        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("hopeful").BuyAsync(sale));
        for (var node = 0; node < Stack.Apis.Count; node++)
        {
            await Eventually.GetAsync($"node {node} has forgotten {unknown.Id}", TimeSpan.FromSeconds(30), () => Stack.Shopper("hopeful", node).BuyAsync(unknown, "a-key"), answer => answer.Code == "sale_not_found");
        }
        Assert.NotEqual(unknown.Id, await Stack.Manager.CreateSaleAsync(items));
        Refusal.AssertIs(409, "sale_state_conflict", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/resume"));
        await Stack.Manager.RebuildAsync(sale.Id);
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.Manager.OpenAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        Assert.Equal(50, await Crowd.BuyAsync(Stack, sale, users: 60, prefix: "after"));
        await Books.CheckAsync(Stack, sale, Loss.Acceptances);
    }

    private static async Task TryAsync(Func<Task> act)
    {
        try
        {
            await act();
        }
        catch (Npgsql.NpgsqlException)
        {
            // Postgres is away at this moment, as the test wants it.
        }
    }
}
