using System.Text.RegularExpressions;
using Dapper;
using FlashSale.Contracts;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// A worker recovers open sales first, and no sale that is ended, locked or large holds up the others.
/// </summary>
public sealed partial class RecoveryTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    [Fact]
    public async Task After_a_restart_of_redis_the_open_sale_comes_before_all_that_have_ended_and_a_locked_one_stops_none()
    {
        var ended = await EndedSalesAsync(60);
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.CheckAsync(Stack, sale);
        await AllAreVerifiedAsync(ended);
        Stack.Worker.Mark();

        // Nobody can verify these four now. A worker looks at four sales together.
        await using var holder = await Stack.Database.Source.OpenConnectionAsync();
        await using var held = await holder.BeginTransactionAsync();
        await holder.ExecuteAsync("select pg_advisory_xact_lock(1, number) from sale where sale_id = any (@ids)", new { ids = ended[^4..] });
        await Stack.Redis.RestartAsync();
        var took = await Stack.SellsOnEveryNodeAsync(sale);
        Tell($"It sold again after {took.TotalMilliseconds:0} ms.");
        await AllAreVerifiedAsync(ended[..^4]);
        await held.RollbackAsync();
        await AllAreVerifiedAsync(ended);

        // The worker also verifies sales of other tests on this stack.
        var order = VerifiedLine().Matches(Stack.Worker.OutputSinceMark).Select(match => match.Groups[1].Value)
            .Where(id => id == sale.Id || ended.Contains(id)).ToList();
        // The sales that a worker looks at together may end in any order.
        Assert.InRange(order.IndexOf(sale.Id), 0, 3);
        Assert.Equal(61, order.Count);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_loader_that_stands_still_keeps_its_sale_from_being_loaded_by_others_for_seconds_only()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Books.CheckAsync(Stack, sale);
        await Stack.Manager.PauseAsync(sale.Id);
        // No worker understands this entry, so the load waits for it.
        var entry = (byte[])(await Stack.Redis.Client.CallAsync("XADD", sale.RedisPrefix + "outbox", "*", "r", new byte[] { 99, 1, 2, 3 }))!;
        var rebuild = Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild");
        await Eventually.TrueAsync("the sale is held", TimeSpan.FromSeconds(20), async () => await Stack.Redis.Client.NumberAsync("HEXISTS", sale.RedisPrefix + "sale", "held") == 1);
        Stack.Admin.Freeze();
        try
        {
            await Stack.Redis.Client.CallAsync("XDEL", sale.RedisPrefix + "outbox", entry);
            await Eventually.TrueAsync("the worker has loaded the sale", TimeSpan.FromSeconds(60), async () =>
                await Stack.Redis.Client.NumberAsync("HEXISTS", sale.RedisPrefix + "sale", "held") == 0);
        }
        finally
        {
            Stack.Admin.Thaw();
        }
        // The Admin host wakes up late and changes nothing any more.
        Assert.NotEqual(200, (await rebuild).Status);
        await Eventually.GetAsync("the sale is resumed", TimeSpan.FromSeconds(20), () => Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/resume"), answer => answer.Status == 200);
        await Stack.SellsOnEveryNodeAsync(sale);
        await Crowd.AllBuyAsync(Stack, sale, users: 80, prefix: "rest");
        await Books.CheckAsync(Stack, sale);
        await Crowd.ReplayAsync(Stack, sale);
    }

    [Fact]
    public async Task However_much_is_in_flight_the_books_are_read_and_a_restarted_redis_is_verified()
    {
        const int InFlight = 60_000;
        var sale = await Stack.OpenSaleAsync(stock: 100_000);
        // Fill Redis as if these orders had been sold and could not reach Postgres.
        foreach (var ids in Enumerable.Range(0, InFlight).Select(_ => Guid.NewGuid().ToByteArray()).Chunk(2_000))
        {
            object[] command = ["HSET", sale.RedisPrefix + "inflight", .. ids.SelectMany(id => (object[])[id, "as accepted"])];
            await Stack.Redis.Client.CallAsync(command);
        }
        await Stack.Redis.Client.CallAsync("HSET", sale.RedisPrefix + "inflight_units", sale.Sku, $"{InFlight}");
        await Stack.Redis.Client.CallAsync("HINCRBY", sale.RedisPrefix + "stock", sale.Sku, $"-{InFlight}");
        var line = (await Stack.Manager.LedgerAsync(sale.Id)).GetProperty("items")[0];
        Assert.Equal((InFlight, 40_000, 0), (line.GetProperty("inFlight").GetInt32(), line.GetProperty("remaining").GetInt32(), line.GetProperty("difference").GetInt32()));

        var epoch = await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "sale", "epoch");
        await Stack.Redis.RestartAsync();
        await Stack.SellsOnEveryNodeAsync(sale);
        Assert.Equal(epoch, await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "sale", "epoch"));
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.Manager.RebuildAsync(sale.Id);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task The_outbox_of_a_closed_sale_is_owned_by_no_relay_and_what_comes_into_it_is_stored_all_the_same()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Books.CheckAsync(Stack, sale);
        await Stack.Manager.CloseAsync(sale.Id);
        // Redis would write each renewal to its file, every second for a week.
        await Eventually.TrueAsync("no relay renews its lease", TimeSpan.FromSeconds(30), async () => await Stack.Redis.Client.NumberAsync("EXISTS", sale.RedisPrefix + "relay") == 0);
        // No Api made this purchase, so the history holds it with an unknown outcome.
        var hash = Fingerprints.OfUser("crafted");
        var id = OrderId.New(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), hash, await ScalarAsync<int>("select number from sale where sale_id = @Id", new { sale.Id }));
        sale.History.Add(new Attempt("crafted", "crafted", sale.Sku, 1, new Answer(0, new Dictionary<string, string>(), [], TimeSpan.Zero)));
        byte[] entry = [ReservationCodec.Version, .. ReservationCodec.Encode(id, hash, 1, sale.Sku, "crafted", "crafted", 1, 100, "CNY")];
        await Stack.Redis.Client.CallAsync("XADD", sale.RedisPrefix + "outbox", "*", "r", entry);
        await Eventually.TrueAsync("it was relayed and stored", TimeSpan.FromSeconds(30), async () =>
            await ScalarAsync<long>("select count(*) from orders where order_id = @id", new { id }) == 1);
        await Books.CheckAsync(Stack, sale);
    }

    // Inserts closed sales, as a season leaves them behind. The worker loads them, since Redis lacks them.
    private async Task<string[]> EndedSalesAsync(int count)
    {
        var ids = Enumerable.Range(1, count).Select(i => $"ended-{i}").ToArray();
        await ExecuteAsync("""
            insert into sale (sale_id, name, status, opens_at, closes_at, closed_at, epoch)
            select id, 'Over', 'closed', now() - interval '2 days', now() - interval '1 day', now() - interval '1 day', 1 from unnest(@ids) id;
            insert into sale_item (sale_id, sku, item_no, name, price, currency, stock) select id, 'phone-1', 1, 'Phone', 100, 'CNY', 10 from unnest(@ids) id
            """, new { ids });
        return ids;
    }

    private async Task AllAreVerifiedAsync(string[] sales)
    {
        await Eventually.TrueAsync($"{sales.Length} sales are verified", TimeSpan.FromSeconds(60), async () =>
        {
            var runId = RunIdLine().Match((await Stack.Redis.Client.TextAsync("INFO", "server"))!).Groups[1].Value;
            foreach (var id in sales)
            {
                if (await Stack.Redis.Client.TextAsync("HGET", $"fs:{{{id}}}:sale", "run") != runId) return false;
            }
            return true;
        });
    }

    [GeneratedRegex(@"Sale (\S+) lost nothing")]
    private static partial Regex VerifiedLine();

    [GeneratedRegex(@"run_id:(\w+)")]
    private static partial Regex RunIdLine();
}
