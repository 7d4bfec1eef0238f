using System.Text;
using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Sales;

/// <summary>A sale sells from the moment that it is open, and only a manager loads it.</summary>
public sealed class PreloadTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task A_sale_that_was_just_loaded_is_not_loaded_again_behind_the_managers_back()
    {
        // The workers look at all sales again and again, and some of their looks fall into the middle of a load.
        for (var i = 0; i < 40; i++)
        {
            var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 1_000)]);
            var loaded = (await Stack.Manager.PreloadAsync(id)).Json.GetProperty("epoch").GetInt64();
            await Stack.Manager.OpenAsync(id);
            await Stack.StatusOnEveryNodeAsync(id, "open");
            var sale = new Sale(id, [new ItemDraft("phone-1", 1_000)]);
            await Crowd.AllBuyAsync(Stack, sale, users: 20);
            await using var connection = await Stack.Database.Source.OpenConnectionAsync();
            Assert.Equal(loaded, await connection.ExecuteScalarAsync<long>("select epoch from sale where sale_id = @id", new { id }));
        }
    }

    [Fact]
    public async Task A_sale_that_was_not_loaded_sells_nothing()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)], opensIn: TimeSpan.FromSeconds(-5));
        foreach (var node in (int[])[0, 1])
            Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("buyer", node).PurchaseAsync(id, """{"sku":"phone-1","quantity":1}""", "k"));
    }

    [Fact]
    public async Task A_rebuild_under_load_neither_loses_nor_doubles_an_order()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        for (var round = 0; round < 3; round++)
        {
            await load.AcceptedMoreAsync(300);
            await Stack.Manager.PauseAsync(sale.Id);
            await Stack.Manager.RebuildAsync(sale.Id);
            await Stack.Manager.ResumeAsync(sale.Id);
        }
        await load.AcceptedMoreAsync(300);
        await load.StopAsync();
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code is "sale_paused" or "temporarily_unavailable" or "outcome_unknown"));
        await Books.CheckAsync(Stack, sale);
        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }

    [Fact]
    public async Task What_a_load_that_died_has_left_in_Redis_goes_with_the_next_one()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: 50);
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(20));
        await Stack.Manager.PauseAsync(sale.Id);
        await using (await TableLock.OfAsync(Stack.Database, "user_quota"))
        {
            var rebuild = Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild");
            await Eventually.TrueAsync("half of the next epoch is there", TimeSpan.FromSeconds(10), async () => (await EpochsOfKeysAsync(sale)).Contains(2));
            await Stack.Database.EndOtherSessionsAsync();
            Assert.NotEqual(200, (await rebuild).Status);
        }
        // The manager began this rebuild and a worker brings it to its end, so it is on record all the same.
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from audit_log where action = 'sale.rebuild' and subject = @Id", new { sale.Id }));
        // A worker sees that Postgres has an epoch that Redis does not have.
        await Eventually.TrueAsync("only the epoch in use has keys", TimeSpan.FromSeconds(20), async () =>
            await Stack.Redis.Client.TextAsync("HGET", $"{sale.RedisPrefix}sale", "epoch") is { } epoch && epoch != "1" && (await EpochsOfKeysAsync(sale)).SetEquals([long.Parse(epoch)]));
        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Books.CheckAsync(Stack, sale);
    }

    // With a million keys of other sales, a scan of all keys would take a second of Redis from the sales that sell.
    [Fact]
    public async Task A_load_looks_at_no_keys_but_its_own()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Stack.Manager.PauseAsync(sale.Id);
        var before = await ScansAsync();
        await Stack.Manager.RebuildAsync(sale.Id);
        Assert.Equal(before, await ScansAsync());
    }

    private async Task<HashSet<long>> EpochsOfKeysAsync(Sale sale)
    {
        var keys = await Stack.Redis.Client.ListAsync("KEYS", sale.RedisPrefix.Replace("{", "[{]", StringComparison.Ordinal) + "*");
        return [.. keys.Select(key => Encoding.UTF8.GetString((byte[])key!)[sale.RedisPrefix.Length..].Split(':')).Where(parts => parts.Length > 1 && parts[0] is "facts" or "buyers" or "shadow").Select(parts => long.Parse(parts[1]))];
    }

    private async Task<string> ScansAsync() =>
        (await Stack.Redis.Client.TextAsync("INFO", "commandstats"))!.Split("\r\n").SingleOrDefault(line => line.StartsWith("cmdstat_scan:", StringComparison.Ordinal)) ?? "none";
}
