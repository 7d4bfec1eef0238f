using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Platform;
using FlashSale.Stock;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>
/// A change of stock that was cut off at any point takes effect once, whether or not the sale is rebuilt before it is
/// resumed. The test sets up the points by hand, with the worker gone, so that it leaves no point to chance. A storm
/// then finds the rest.
/// </summary>
[Collection<OnOneOfEach>]
public sealed class StockChangeCrashTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Key = "key-of-the-change";

    [Theory]
    [InlineData(-3, false, false, false)]
    [InlineData(-3, false, false, true)]
    [InlineData(-3, false, true, false)]
    [InlineData(-3, false, true, true)]
    [InlineData(4, false, false, false)]
    [InlineData(4, false, false, true)]
    [InlineData(4, true, false, false)]
    [InlineData(4, true, false, true)]
    [InlineData(4, true, true, false)]
    [InlineData(4, true, true, true)]
    public async Task A_change_that_was_cut_off_takes_effect_once(int delta, bool inPostgres, bool inRedis, bool rebuilt)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Crowd.AllBuyAsync(Stack, sale, users: 2);
        await Books.CheckAsync(Stack, sale);
        await Stack.Worker.KillAsync();
        try
        {
            await BeginAsync(sale, delta, inPostgres);
            if (inRedis) Assert.Equal(1, await CallScriptAsync(sale, delta));
            if (rebuilt)
            {
                await Stack.Manager.PauseAsync(sale.Id);
                await Stack.Manager.RebuildAsync(sale.Id);
                await Stack.Manager.ResumeAsync(sale.Id);
            }
            // The same request with the same key finishes the change.
            var answer = Manager.Expect(200, await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, delta, Key));
            Assert.Equal((10 + delta, 8 + delta), (answer.Json.GetProperty("stock").GetInt32(), answer.Json.GetProperty("remaining").GetInt32()));
            Assert.Equal(answer.Text, (await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, delta, Key)).Text);
        }
        finally
        {
            await Stack.Worker.StartAsync();
        }
        await Books.CheckAsync(Stack, sale);
    }

    [Theory]
    [InlineData(-3, false, true)]
    [InlineData(4, true, false)]
    public async Task The_worker_finishes_what_nobody_repeats(int delta, bool inPostgres, bool inRedis)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.Worker.KillAsync();
        await BeginAsync(sale, delta, inPostgres);
        if (inRedis) await CallScriptAsync(sale, delta);
        await Stack.Worker.StartAsync();
        await FinishedAsync(sale);
        await Books.CheckAsync(Stack, sale);
        Assert.Equal(10 + delta, (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0].GetProperty("remaining").GetInt32());
    }

    [Fact]
    public async Task A_refused_decrease_that_arrives_late_takes_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 2);
        Refusal.AssertIs(409, "stock_below_sold", await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, -3, Key));
        await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, 10);
        await CallScriptAsync(sale, -3);
        Assert.Equal(12, (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0].GetProperty("remaining").GetInt32());
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task In_a_storm_of_changes_purchases_rebuilds_and_killed_hosts_every_unit_is_accounted_for()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await using var load = new Load(Stack, sale);
        var random = new Random(7);
        for (var round = 0; round < 6; round++)
        {
            var changes = Task.WhenAll(Enumerable.Range(0, 40).Select(i => Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, random.Next(2) == 0 ? random.Next(1, 20) : -random.Next(1, 20), $"storm-{round}-{i}")));
            if (round % 3 == 0)
            {
                await Task.Delay(random.Next(5, 60));
                await Stack.Admin.RestartAsync();
            }
            else if (round % 3 == 1)
            {
                await Stack.Manager.PauseAsync(sale.Id);
                await Stack.Manager.RebuildAsync(sale.Id);
                await Stack.Manager.ResumeAsync(sale.Id);
            }
            else
            {
                Stack.Redis.Freeze();
                await Task.Delay(1_500);
                Stack.Redis.Thaw();
            }
            var answers = await changes;
            Tell($"round {round}: {string.Join(", ", answers.GroupBy(a => $"{a.Status} {a.Code}").Select(g => $"{g.Count()} x {g.Key}"))}");
            Assert.DoesNotContain(answers, answer => answer.Status is not (0 or 200 or 409 or 503));
        }
        await load.StopAsync();
        await FinishedAsync(sale);
        await Books.CheckAsync(Stack, sale);
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        var (stock, changed) = await connection.QuerySingleAsync<(long, long)>("""
            select i.stock::bigint, (select coalesce(sum(delta), 0) from stock_change where sale_id = @Id and state = 'applied') from sale_item i where i.sale_id = @Id
            """, new { sale.Id });
        Assert.Equal(1_000 + changed, stock);
    }

    private async Task FinishedAsync(Sale sale)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        await Eventually.TrueAsync("all changes are finished", TimeSpan.FromSeconds(20), async () =>
            await connection.ExecuteScalarAsync<long>("select count(*) from stock_change where sale_id = @Id and state in ('pending', 'recorded')", new { sale.Id }) == 0);
    }

    // Writes the rows that Admin writes before it calls Redis.
    private async Task<long> BeginAsync(Sale sale, int delta, bool inPostgres)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        if (inPostgres) await connection.ExecuteAsync("update sale_item set stock = stock + @delta where sale_id = @Id", new { sale.Id, delta });
        return await connection.ExecuteScalarAsync<long>("""
            insert into stock_change (sale_id, sku, delta, reason, actor, idempotency_key, state, epoch, stock)
            select @Id, @Sku, @delta, 'A test changes stock', 'test-operator', @Key, case when @inPostgres then 'recorded' else 'pending' end,
                   case when @inPostgres then s.epoch end, case when @inPostgres then 10 + @delta end
            from sale s where s.sale_id = @Id returning change_id
            """, new { sale.Id, sale.Sku, delta, Key, inPostgres });
    }

    private async Task<long> CallScriptAsync(Sale sale, int delta)
    {
        var epoch = await Stack.Redis.Client.TextAsync("HGET", $"{sale.RedisPrefix}sale", "epoch");
        var answer = await Stack.Redis.Client.ListAsync("EVAL", Resources.Read("Stock.units.lua") + Resources.Read("Stock.change_stock.lua"), 3, $"{sale.RedisPrefix}sale", $"{sale.RedisPrefix}stock", $"{sale.RedisPrefix}returned",
            ChangeStockScript.NameOf(sale.Sku, Key, delta), epoch!, sale.Sku, delta, "apply", 10 + delta);
        return (long)answer[0]!;
    }
}
