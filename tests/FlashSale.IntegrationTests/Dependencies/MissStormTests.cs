using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>A stack with a Postgres of its own, which counts statements.</summary>
public sealed class CountingPostgres() : StackFixture(new StackOptions { OwnPostgres = true });

/// <summary>Many requests for orders and sales that do not exist cost Postgres almost nothing.</summary>
public sealed class MissStormTests(CountingPostgres fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<CountingPostgres>
{
    private const int Crowd = 500;

    private int _asked;

    public override async ValueTask InitializeAsync() => await ExecuteAsync("create extension if not exists pg_stat_statements");

    public override async ValueTask DisposeAsync()
    {
        // Thaw the hosts after a failed test too. Frozen hosts would fail the next test.
        Stack.Worker.Thaw();
        Stack.Admin.Thaw();
        await base.DisposeAsync();
    }

    [Fact]
    public async Task Five_hundred_at_once_for_an_order_that_may_yet_come_reach_postgres_once_a_second()
    {
        var unknown = Near(await OrderAsync());
        await AskAsync(unknown);
        var before = await LooksAsync();
        var clock = Stopwatch.StartNew();
        var answers = await Task.WhenAll(Enumerable.Range(0, Crowd).Select(_ => AskAsync(unknown)));
        var seconds = clock.Elapsed.TotalSeconds;
        var looks = await LooksAsync() - before;
        Tell($"{Crowd} requests within {seconds:0.00} s: {looks} looks at Postgres");
        Assert.All(answers, answer => Refusal.AssertIs(404, "order_not_found", answer));
        Assert.InRange(looks, 1, 1 + (long)seconds);
    }

    [Fact]
    public async Task A_storm_for_an_order_that_cannot_come_any_more_is_answered_at_once_and_reaches_postgres_once_a_second()
    {
        var unknown = Old(await OrderAsync());
        await AskAsync(unknown);
        var before = await LooksAsync();
        var clock = Stopwatch.StartNew();
        List<Answer> answers = [];
        while (clock.Elapsed < TimeSpan.FromSeconds(2.5)) answers.AddRange(await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => AskAsync(unknown))));
        var looks = await LooksAsync() - before;
        Tell($"{answers.Count} requests within {clock.Elapsed.TotalSeconds:0.00} s: {looks} looks at Postgres");
        Assert.True(answers.Count >= Crowd, $"only {answers.Count} requests: inconclusive");
        Assert.All(answers, answer => Refusal.AssertIs(404, "order_not_found", answer));
        Assert.InRange(looks, 1, 1 + (long)clock.Elapsed.TotalSeconds);
    }

    [Fact]
    public async Task An_order_that_appears_while_a_storm_asks_for_it_is_found_by_everyone_who_asks_after()
    {
        var buyer = "late-buyer";
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var template = (await Stack.Shopper(buyer).BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        // The storm asks for the id before its order exists, which no real shopper could do. Then the row appears in
        // Postgres, although the order was never seen in flight.
        var id = Near(template);
        var storming = true;
        var storm = Task.WhenAll(Enumerable.Range(0, 20).Select(async _ =>
        {
            while (Volatile.Read(ref storming)) await AskAsync(id);
        }));
        for (var round = 0; round < 5; round++)
        {
            await AskAsync(id, buyer);
            await ExecuteAsync("insert into orders select (jsonb_populate_record(o, jsonb_build_object('order_id', @id, 'idempotency_key', 'storm'))).* from orders o where o.order_id = @template", new { id, template });
            var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => AskAsync(id, buyer)));
            Assert.All(answers, answer => Assert.True(answer.Status == 200, $"{answer}"));
            await ExecuteAsync("delete from orders where order_id = @id", new { id });
        }
        Volatile.Write(ref storming, false);
        await storm;
    }

    [Fact]
    public async Task Those_who_wait_for_an_order_that_may_yet_come_take_no_place_from_others()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        await using var api = new HostProcess("Api", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Shedding__MaxPeriphery"] = "8" });
        await api.StartAsync();
        using var http = new HttpClient();
        var nobody = new Shopper(http, () => api.Url, "nobody", token: "");
        var unknown = Near(order);
        var asking = true;
        // 20 shoppers are more than the 8 places. A shopper that finds all places taken at the moment is refused, and
        // asks again.
        var storm = Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            var shopper = new Shopper(http, () => api.Url, $"patient-{i}");
            var waited = 0;
            while (Volatile.Read(ref asking))
            {
                var answer = await shopper.OrderAsync(unknown);
                Assert.Contains(answer.Status, (int[])[404, 503]);
                if (answer.Status == 404) waited++;
                else await Task.Delay(200);
            }
            return waited;
        }));
        var (served, asked) = (0, 0);
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < TimeSpan.FromSeconds(5); asked++)
        {
            if ((await nobody.GetAsync($"/api/v1/sales/{sale.Id}")).Status == 200) served++;
            await Task.Delay(20);
        }
        Volatile.Write(ref asking, false);
        var waits = await storm;
        Tell($"{served} of {asked} sale pages while {waits.Sum()} waits for an unknown order ended");
        Assert.True(waits.Sum() > 20, "Nobody waited: inconclusive.");
        Assert.InRange(served, asked / 2, asked);
    }

    [Fact]
    public async Task Unknown_sales_never_reach_postgres()
    {
        Stack.Worker.Freeze();
        Stack.Admin.Freeze();
        await Eventually.TrueAsync("what they had begun has ended", TimeSpan.FromSeconds(20), async () => await ActiveAsync() == 0);
        var before = await StatementsAsync();
        var answers = await Task.WhenAll(Enumerable.Range(0, Crowd).Select(i => i % 2 == 0
            ? Stack.Shopper($"a-{i}").GetAsync("/api/v1/sales/s4000000")
            : Stack.Shopper($"a-{i}").PurchaseAsync("s4000000", """{"sku":"phone-1","quantity":1}""", "k")));
        Assert.All(answers, answer => Refusal.AssertIs(404, "sale_not_found", answer));
        Assert.Equal(before, await StatementsAsync());
        // As a control, a request that reaches Postgres is counted.
        await AskAsync(Old(Guid.CreateVersion7()));
        Assert.NotEqual(before, await StatementsAsync());
    }

    private async Task<Guid> OrderAsync()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        return order;
    }

    // An id of the same sale and the same millisecond that no order has.
    private static Guid Near(Guid order)
    {
        var bytes = order.ToByteArray(bigEndian: true);
        bytes[15] ^= 1;
        return new Guid(bytes, bigEndian: true);
    }

    // An id with the layout of an order id, but from long ago.
    private static Guid Old(Guid order)
    {
        var bytes = order.ToByteArray(bigEndian: true);
        bytes[0] = 0;
        bytes[6] = (byte)(0x80 | bytes[6] & 0x0F);
        bytes[8] = 0x80;
        bytes[10] = 1;
        return new Guid(bytes, bigEndian: true);
    }

    // Many users ask, because the limits would stop a single user.
    private Task<Answer> AskAsync(Guid order, string? user = null) => Stack.Shopper(user ?? $"somebody-{Interlocked.Increment(ref _asked) % 100}").OrderAsync(order);

    private Task<long> LooksAsync() => CountAsync("query like '%from orders where order_id =%'");

    // Leaves out the test's own statements and the DISCARD of the connection pool.
    private Task<long> StatementsAsync() => CountAsync("query not like '%pg_stat_%' and query not ilike 'discard%'");

    private Task<long> CountAsync(string which) =>
        ScalarAsync<long>($"select coalesce(sum(calls), 0)::bigint from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database()) and {which}");

    private Task<long> ActiveAsync() =>
        ScalarAsync<long>("select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle' and pid <> pg_backend_pid()");
}
