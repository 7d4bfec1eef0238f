using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>One of each host, on a Postgres that gets standbys.</summary>
public sealed class WithStandbys() : StackFixture(new StackOptions { OwnPostgres = true, Settings = { ["Relay__RepublishAfterSeconds"] = "2" } });

/// <summary>
/// The primary of Postgres dies and a standby takes its place, with all commits or without the last ones. The sale goes
/// on by itself, and no order, return or number is lost or used twice.
/// </summary>
public sealed class FailoverTests(WithStandbys fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<WithStandbys>
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task A_failover_that_lost_nothing_stops_no_sale()
    {
        var sale = await Stack.OpenSaleAsync(stock: 50);
        await using var standby = await StandbyAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 30);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.CaughtUpAsync(standby);
        await FailOverAsync(standby);
        Assert.Equal(20, await Crowd.BuyAsync(Stack, sale, users: 40, prefix: "after"));
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(0, await HoldsAsync(sale));
    }

    [Fact]
    public async Task Orders_that_the_new_primary_lacks_are_stored_again_without_a_person()
    {
        var sale = await Stack.OpenSaleAsync(stock: 80);
        await using var standby = await StandbyAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Books.CheckAsync(Stack, sale);
        await CutOffAsync(standby);
        await Crowd.AllBuyAsync(Stack, sale, users: 30, prefix: "lost");
        // The orders are stored and settled, but the standby does not have them.
        await Books.CheckAsync(Stack, sale);
        await FailOverAsync(standby);
        await Eventually.TrueAsync("the orders are stored again", Deadline, async () => (await Books.ReadAsync(Stack, sale)).Orders.Count == 50);
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(30, await Crowd.BuyAsync(Stack, sale, users: 40, prefix: "after"));
        await Books.CheckAsync(Stack, sale);
        await Crowd.ReplayAsync(Stack, sale);
        Assert.Equal(0, await HoldsAsync(sale));
    }

    [Fact]
    public async Task A_return_that_was_lost_is_made_once_and_its_number_stops_no_other()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        await using var standby = await StandbyAsync();
        await CutOffAsync(standby);
        var told = sale.History.Accepted;
        await CancelAsync(told[0].UserId, told[0].Answer.OrderId);
        await RemainingAsync(sale, 1);
        await FailOverAsync(standby);
        // This return gets the number of the lost one.
        await CancelAsync(told[1].UserId, told[1].Answer.OrderId);
        await RemainingAsync(sale, 2);
        await CancelAsync(told[0].UserId, told[0].Answer.OrderId);
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(2, await Crowd.BuyAsync(Stack, sale, users: 5, prefix: "after"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_sale_whose_last_change_was_lost_is_paused_and_no_other()
    {
        var (sale, other) = (await Stack.OpenSaleAsync(stock: 10), await Stack.OpenSaleAsync(stock: 10));
        await using var standby = await StandbyAsync();
        await CutOffAsync(standby);
        await Stack.Manager.PauseAsync(sale.Id);
        await FailOverAsync(standby);
        Assert.Equal((1L, 0L), (await HoldsAsync(sale), await HoldsAsync(other)));
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        await Crowd.AllBuyAsync(Stack, other, users: 10);
        Refusal.AssertIs(409, "sale_paused", await Stack.Shopper("hopeful").BuyAsync(sale));
        await Stack.Manager.RebuildAsync(sale.Id);
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await Books.CheckAsync(Stack, sale);
        await Books.CheckAsync(Stack, other);
    }

    [Fact]
    public async Task A_lost_synchronous_standby_is_told_and_orders_are_stored_when_it_is_back()
    {
        var (sale, draft) = (await Stack.OpenSaleAsync(stock: 20), await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 1)]));
        await using var standby = await StandbyAsync();
        await Stack.Postgres!.SetAsync("synchronous_standby_names", "*");
        try
        {
            await Crowd.AllBuyAsync(Stack, sale, users: 10);
            await Books.CheckAsync(Stack, sale);
            await standby.StopAsync();
            await Crowd.AllBuyAsync(Stack, sale, users: 10, prefix: "waiting");
            await Eventually.GetAsync("the worker tells of it", Deadline, () => Figures.ReadyAsync(Stack.Worker),
                answer => answer.Status == 503 && answer.Text.Contains("no synchronous standby is connected"));
            await Eventually.TrueAsync("commits wait", Deadline, async () => await Figures.OfAsync(Stack.Worker, "flashsale_postgres_commit_wait_seconds") > 1);
            var refused = Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{draft}/preload"));
            Assert.Contains("no synchronous standby is connected", refused.Member("detail"));
            await standby.StartAsync();
            await Stack.Worker.ReadyAsync(Deadline);
            await Books.CheckAsync(Stack, sale);
            await Stack.Manager.PreloadAsync(draft);
        }
        finally
        {
            await Stack.Postgres.SetAsync("synchronous_standby_names", null);
        }
    }

    [Fact]
    public async Task With_commits_that_a_crash_may_lose_no_sale_is_loaded()
    {
        var draft = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 1)]);
        await Stack.Postgres!.SetAsync("synchronous_commit", "off");
        try
        {
            await Eventually.GetAsync("the worker tells of it", Deadline, () => Figures.ReadyAsync(Stack.Worker),
                answer => answer.Status == 503 && answer.Text.Contains("set synchronous_commit = on"));
            var refused = Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.PostAsync($"/api/v1/sales/{draft}/preload"));
            Assert.Contains("set synchronous_commit = on", refused.Member("detail"));
        }
        finally
        {
            await Stack.Postgres.SetAsync("synchronous_commit", null);
        }
        await Stack.Worker.ReadyAsync(Deadline);
        await Stack.Manager.PreloadAsync(draft);
    }

    [Fact]
    public async Task A_redis_that_is_full_goes_on_settling_while_there_is_a_standby()
    {
        var sale = await Stack.OpenSaleAsync(stock: 50);
        await using var standby = await StandbyAsync();
        await Stack.FreezeWorkersAsync();
        await Crowd.AllBuyAsync(Stack, sale, users: 30);
        await Stack.Redis.Client.CallAsync("CONFIG", "SET", "maxmemory", "1");
        try
        {
            Stack.Worker.Thaw();
            // Settling frees the memory that the orders take, so it must not wait for room in the log of what was settled.
            await Eventually.TrueAsync("the outbox is empty", Deadline, async () => await Stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") == 0);
        }
        finally
        {
            Stack.Worker.Thaw();
            await Stack.Redis.Client.CallAsync("CONFIG", "SET", "maxmemory", "2gb");
        }
        await Books.CheckAsync(Stack, sale);
    }

    // Starts a standby that streams, and waits until the worker keeps the reservations that it settles.
    private async Task<PostgresServer> StandbyAsync()
    {
        var standby = await Stack.Postgres!.StartStandbyAsync();
        var kept = await Eventually.GetAsync("settled reservations are kept", Deadline, () => Stack.Redis.Client.TextAsync("HGET", "fs:postgres", "kept"), text => text is not null);
        await Eventually.TrueAsync("a beat was counted since then", Deadline, async () => await ScalarAsync<bool>("select at > @kept::bigint from postgres_beat", new { kept }));
        return standby;
    }

    // Stops the standby once it has caught up. From here on it receives nothing.
    private async Task CutOffAsync(PostgresServer standby)
    {
        await Stack.Postgres!.CaughtUpAsync(standby);
        await standby.StopAsync();
    }

    private async Task FailOverAsync(PostgresServer standby)
    {
        await Stack.FailOverPostgresAsync(standby);
        await Eventually.TrueAsync("the worker goes on with the new primary", Deadline, async () =>
            await Stack.Redis.Client.TextAsync("HGET", "fs:postgres", "timeline")
            == $"{await ScalarAsync<int>("select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int")}");
    }

    private async Task CancelAsync(string user, Guid order) => Assert.Equal(200, (await Stack.Shopper(user).CancelAsync(order)).Status);

    private Task<TimeSpan> RemainingAsync(Sale sale, int units) => Eventually.TrueAsync($"{units} units remain", Deadline, async () =>
        await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "stock", sale.Sku) == units);

    private Task<long> HoldsAsync(Sale sale) => ScalarAsync<long>("select count(*) from audit_log where action = 'sale.hold' and subject = @Id", new { sale.Id });
}
