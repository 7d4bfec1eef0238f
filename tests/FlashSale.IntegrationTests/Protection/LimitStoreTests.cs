using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>While Redis is away, each rule of cluster scope allows, denies or counts as it says.</summary>
public sealed class LimitStoreTests(TwoNodesBehindProxy fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoNodesBehindProxy>
{
    // A node shows pages from its memory, so it answers them while Redis is away.
    private static readonly string[] Modes = ["allow", "deny", "local"];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task With_Redis_away_a_rule_allows_denies_or_counts_by_itself_as_it_says(bool frozen)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.LimitAsync([.. Modes.Select(mode => Ops.Rule(mode, "ip", capacity: 3, perSecond: 0.001, path: $"/api/v1/sales/{mode}", scope: "cluster", more: ("onStoreFailure", mode)))]);
        if (frozen) Stack.Redis.Freeze();
        else await Stack.Redis.KillAsync();
        try
        {
            await Eventually.TrueAsync("the nodes have noticed", TimeSpan.FromSeconds(10), async () =>
                (await Task.WhenAll(Enumerable.Range(0, 2).Select(node => StatusAsync("deny", node, "100.64.0.1")))).All(status => status == 429));
            foreach (var node in (int[])[0, 1])
            {
                Assert.Equal([404, 404, 404, 404, 404], await StatusesAsync("allow", node));
                Assert.Equal([429, 429, 429, 429, 429], await StatusesAsync("deny", node));
                // Each node counts by itself, with the whole bucket of the rule.
                Assert.Equal([404, 404, 404, 429, 429], await StatusesAsync("local", node));
            }
            // No request waits for Redis. The first ones were answered within its deadline, later ones at once.
            var clock = Stopwatch.StartNew();
            for (var i = 0; i < 50; i++) await StatusAsync("allow", 0, "100.64.0.2");
            Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(5));
        }
        finally
        {
            if (frozen) Stack.Redis.Thaw();
            else await Stack.Redis.StartAsync();
        }
        // The nodes count together again once Redis is back.
        await Eventually.TrueAsync("the rules count in Redis again", TimeSpan.FromSeconds(20), async () =>
        {
            var from = Address();
            var statuses = new List<int>();
            for (var i = 0; i < 4; i++) statuses.Add(await StatusAsync("allow", i % 2, from));
            return statuses is [404, 404, 404, 429];
        });
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task What_operators_have_set_stays_with_Redis_away_and_is_published_again_after_it_forgot()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Stack.SwitchAsync(level: 1);
        await Stack.LimitAsync(Ops.Rule("one", "ip", capacity: 1, perSecond: 0.001, path: "/api/v1/sales/**"));
        await Stack.Redis.KillAsync();
        Stack.Redis.WipeFiles();
        var from = Address();
        Assert.Equal((200, 429), (await StatusAsync(sale.Id, 0, from), await StatusAsync(sale.Id, 0, from)));
        Assert.Equal(503, (await Stack.Shopper("anyone").MyOrdersAsync()).Status);
        var unheard = await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", new { level = 0, reason = "with Redis away" });
        Assert.Equal((503, "temporarily_unavailable"), (unheard.Status, unheard.Code));
        await Stack.Redis.StartAsync();
        // Postgres kept both. The worker publishes them, and a node that starts now follows them.
        await Eventually.TrueAsync("the nodes follow the level that was set meanwhile", TimeSpan.FromSeconds(20), async () => (await Stack.Shopper("anyone").MyOrdersAsync()).Status == 200);
        await Stack.Apis[1].RestartAsync();
        var other = Address();
        Assert.Equal((200, 429), (await StatusAsync(sale.Id, 1, other), await StatusAsync(sale.Id, 1, other)));
        await Stack.LimitAsync(new { rules = Array.Empty<object>() });
        await Stack.SellsOnEveryNodeAsync(sale);
    }

    private async Task<int> StatusAsync(string saleId, int node, string from) => (await Stack.Shopper("anyone", node).GetAsync($"/api/v1/sales/{saleId}", ("X-Forwarded-For", from))).Status;

    private async Task<List<int>> StatusesAsync(string mode, int node)
    {
        var (statuses, from) = (new List<int>(), Address());
        for (var i = 0; i < 5; i++) statuses.Add(await StatusAsync(mode, node, from));
        return statuses;
    }

    private static string Address() => $"100.{Random.Shared.Next(64, 128)}.{Random.Shared.Next(256)}.{Random.Shared.Next(1, 255)}";
}
