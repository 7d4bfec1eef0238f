using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>Two nodes with a level that soon follows an outbox that nobody empties.</summary>
public sealed class TwoSensitiveNodes() : StackFixture(new StackOptions
{
    Apis = 2,
    Settings = new(StringComparer.Ordinal)
    {
        ["Degradation__Ceiling"] = "2", ["Degradation__OutboxAgeSeconds"] = "2", ["Degradation__RiseMilliseconds"] = "1000", ["Degradation__FallMilliseconds"] = "1000",
        // The signals of a busy test machine must not raise the level.
        ["Degradation__QueueDelayMilliseconds"] = "10000", ["Degradation__ScriptMilliseconds"] = "10000", ["Degradation__RedisErrorPercent"] = "100", ["Degradation__MemoryMegabytes"] = "100000",
        ["Degradation__SharePercent"] = "50",
    },
});

/// <summary>Each level serves clients as documented. Operators and the pressure decide the level.</summary>
public sealed class DegradationTests(TwoSensitiveNodes fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoSensitiveNodes>
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public async Task Each_level_serves_what_is_documented_on_every_node(int level)
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        var before = await Stack.Shopper("early").BuyAsync(sale, "early-key");
        Assert.Equal(202, before.Status);
        var took = await Stack.SwitchAsync(level);
        Assert.InRange(took, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        try
        {
            foreach (var node in (int[])[0, 1])
            {
                var shopper = Stack.Shopper("early", node);
                AssertServes(level < 1, await shopper.GetAsync("/api/v1/sales"));
                AssertServes(level < 1, await shopper.MyOrdersAsync());
                await AssertStreamsAsync(level < 1, node, before.OrderId);
                var page = await shopper.GetAsync($"/api/v1/sales/{sale.Id}");
                Assert.Equal((200, level < 2 ? "public, max-age=1" : "public, max-age=30"), (page.Status, page.Header("cache-control")));
                var order = await shopper.OrderAsync(before.OrderId);
                Assert.Equal((200, level < 2 ? null : "5"), (order.Status, order.Header("retry-after")));
                var admission = await shopper.SendAsync(HttpMethod.Post, $"/api/v1/sales/{sale.Id}/admission");
                if (level < 3) Assert.Equal(200, admission.Status);
                else if (level == 3) Refusal.AssertIs(403, "challenge_required", admission);
                else if (level == 5) Refusal.AssertIs(503, "purchases_suspended", admission);
                await AssertBuysAsync(sale, level, node);
                await Eventually.GetAsync("both nodes report level and cause", TimeSpan.FromSeconds(5), Stack.NodesAsync,
                    all => all.Count >= 2 && all.All(one => one.Level == level && one.Cause == "set by an operator: a test"));
                using var http = new HttpClient();
                Assert.Contains($"degradation level {level} since ", await http.GetStringAsync(new Uri(Stack.Apis[node].ManagementUrl, "/health/ready")), StringComparison.Ordinal);
            }
        }
        finally
        {
            await Stack.SwitchAsync(0);
        }
        if (level > 0)
        {
            await Eventually.GetAsync("the level of both nodes is in the audit log", TimeSpan.FromSeconds(5), () => Stack.Manager.GetAsync("/api/v1/audit?limit=20"), answer =>
                answer.Json.GetProperty("entries").EnumerateArray().Where(entry => entry.GetProperty("action").GetString() == "degradation.level"
                    && entry.GetProperty("after").GetProperty("level").GetInt32() == level).Select(entry => entry.GetProperty("subject").GetString()).Distinct().Count() == 2);
        }
        var again = await Stack.Shopper("early").BuyAsync(sale, "early-key");
        Assert.True(again.IsReplay);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_switch_wins_over_the_level_and_ends_when_it_was_to_end()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        Manager.Expect(200, await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", new
        {
            level = 1, reason = "a test", until = TimeProvider.System.GetUtcNow().AddSeconds(3).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture),
            switches = new Dictionary<string, bool?> { ["saleLists"] = true, ["purchases"] = false, ["orderHistory"] = null },
        }));
        var shopper = Stack.Shopper("anyone");
        // Each purchase needs another buyer. A shopper that bought before would be told of the purchase limit.
        var buyers = 0;
        await Eventually.TrueAsync("purchases are suspended", TimeSpan.FromSeconds(1), async () => (await Stack.Shopper($"buyer-{buyers++}").BuyAsync(sale)).Code == "purchases_suspended");
        AssertServes(true, await shopper.GetAsync("/api/v1/sales"));
        AssertServes(false, await shopper.MyOrdersAsync());
        await Eventually.TrueAsync("everything is served again", TimeSpan.FromSeconds(5), async () => (await shopper.MyOrdersAsync()).Status == 200 && (await Stack.Shopper($"buyer-{buyers++}").BuyAsync(sale)).Status == 202);
        await Books.CheckAsync(Stack, sale);
        // An ended level is not shown, so that the document can be sent back.
        var ended = await Stack.Manager.GetAsync("/api/v1/ops/switches");
        Assert.Equal((JsonValueKind.Null, JsonValueKind.Null), (ended.Json.GetProperty("level").ValueKind, ended.Json.GetProperty("until").ValueKind));
        Assert.Empty(ended.Json.GetProperty("switches").EnumerateObject());
        await What_was_read_can_be_sent_back();
    }

    [Fact]
    public async Task A_level_that_was_to_end_before_now_is_refused()
    {
        var answer = await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", new { level = 1, reason = "a test", until = "2020-01-01T00:00:00Z" });
        Assert.Equal((400, "invalid_request"), (answer.Status, answer.Code));
        Assert.Contains("must be in the future", answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_read_can_be_sent_back()
    {
        var read = await Stack.Manager.GetAsync("/api/v1/ops/switches");
        using var body = new StringContent(read.Text, null, "application/json");
        Assert.Equal(200, (await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", body)).Status);
    }

    [Fact]
    public async Task Real_pressure_raises_the_level_step_by_step_to_the_ceiling_and_quiet_lowers_it_again()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Stack.SwitchAsync(level: null, floor: 0, ceiling: 2);
        var shopper = Stack.Shopper("anyone");
        // Nobody fetches the orders from the outbox, so the oldest one grows old.
        Stack.Worker.Freeze();
        try
        {
            await Crowd.AllBuyAsync(Stack, sale, users: 20);
            var clock = Stopwatch.StartNew();
            await Eventually.TrueAsync("lists are off", TimeSpan.FromSeconds(15), async () => (await shopper.MyOrdersAsync()).Status == 503);
            var one = clock.Elapsed;
            await Eventually.TrueAsync("pages are cached for longer", TimeSpan.FromSeconds(15), async () => (await shopper.GetAsync($"/api/v1/sales/{sale.Id}")).Header("cache-control") == "public, max-age=30");
            Tell($"level 1 after {one.TotalSeconds:0.0} s, level 2 after {clock.Elapsed.TotalSeconds:0.0} s");
            Assert.True(clock.Elapsed > one, "The levels come one after the other.");
            Assert.Contains(await Stack.NodesAsync(), node => node.Cause.StartsWith("pressure: outbox age", StringComparison.Ordinal));
            // The ceiling holds, and selling goes on.
            Assert.Equal(202, (await Stack.Shopper("during").BuyAsync(sale)).Status);
            // A pin wins over the pressure.
            await Stack.SwitchAsync(0);
            Assert.Equal(200, (await shopper.MyOrdersAsync()).Status);
            await Stack.SwitchAsync(level: null, floor: 0, ceiling: 2);
            await Eventually.TrueAsync("the pressure counts again", TimeSpan.FromSeconds(15), async () => (await shopper.MyOrdersAsync()).Status == 503);
        }
        finally
        {
            Stack.Worker.Thaw();
        }
        await Eventually.TrueAsync("all is served again", TimeSpan.FromSeconds(30), async () =>
            (await shopper.MyOrdersAsync()).Status == 200 && (await shopper.GetAsync($"/api/v1/sales/{sale.Id}")).Header("cache-control") == "public, max-age=1");
        await Books.CheckAsync(Stack, sale);
    }

    private async Task AssertBuysAsync(Sale sale, int level, int node)
    {
        const int Users = 60;
        var answers = new List<Answer>();
        for (var i = 0; i < Users; i++) answers.Add(await Stack.Shopper($"level-{level}-user-{i}", node).BuyAsync(sale, $"level-{level}-key-{i}"));
        var served = answers.Count(answer => answer.Status == 202);
        Assert.All(answers.Where(answer => answer.Status != 202), answer => Refusal.AssertIs(503, "purchases_suspended", answer));
        if (level < 4) Assert.Equal(Users, served);
        else if (level == 4) Assert.InRange(served, 10, 50);
        else Assert.Equal(0, served);
        // A node always serves the same users.
        var again = new List<int>();
        for (var i = 0; i < Users; i++) again.Add((await Stack.Shopper($"level-{level}-user-{i}", node).BuyAsync(sale, $"level-{level}-key-{i}")).Status);
        Assert.Equal(answers.Select(answer => answer.Status), again);
    }

    private static void AssertServes(bool served, Answer answer)
    {
        if (served) Assert.Equal(200, answer.Status);
        else Refusal.AssertIs(503, "temporarily_unavailable", answer);
    }

    // A client asks for a refused stream again later. After an error it would give up.
    private async Task AssertStreamsAsync(bool served, int node, Guid orderId)
    {
        using var stream = await EventClient.OpenAsync(Stack.Apis[node], "early", orderId);
        Assert.Equal(200, stream.Status);
        if (served) Assert.NotNull(await stream.NextAsync());
        else Assert.Empty(await stream.RestAsync());
    }
}
