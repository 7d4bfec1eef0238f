using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>Two nodes behind a proxy on loopback, so that tests may come from any address.</summary>
public sealed class TwoNodesBehindProxy() : StackFixture(new StackOptions
{
    Apis = 2, Settings = new(StringComparer.Ordinal) { ["Proxies__Networks__0"] = "127.0.0.0/8", ["Proxies__Networks__1"] = "10.9.0.0/16", ["Orders__MaxCancellations"] = "3" },
});

/// <summary>Two nodes limit the requests of their clients.</summary>
public sealed class LimitTests(TwoNodesBehindProxy fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoNodesBehindProxy>
{
    private const string Page = "/api/v1/sales";

    [Fact]
    public async Task A_user_who_clicks_too_often_is_told_when_to_come_again_and_nobody_else_notices()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Stack.LimitAsync(Ops.Rule("clicks", "user", capacity: 5, perSecond: 0.5, method: "POST"));
        var user = Stack.Shopper(Unique("clicker"));
        for (var i = 0; i < 5; i++)
        {
            var answer = await user.BuyAsync(sale);
            Assert.NotEqual(429, answer.Status);
            Assert.Equal(("\"clicks\";q=5;w=10", $"\"clicks\";r={4 - i}"), (answer.Header("ratelimit-policy"), answer.Header("ratelimit")!.Split(";t=")[0]));
        }
        var refused = await user.BuyAsync(sale);
        Assert.Equal((429, "rate_limited", "no-store"), (refused.Status, refused.Code, refused.Header("cache-control")));
        Assert.InRange(int.Parse(refused.Header("retry-after")!, CultureInfo.InvariantCulture), 1, 3);
        Assert.StartsWith("\"clicks\";r=0;t=", refused.Header("ratelimit"), StringComparison.Ordinal);
        Assert.Equal(202, (await Stack.Shopper(Unique("other")).BuyAsync(sale)).Status);
        // A request without a user is not counted by user. It is refused for its bad token.
        Assert.Equal(401, (await Stack.Shopper("x", token: "not-a-token").BuyAsync(sale)).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_pattern_is_one_bucket_for_all_that_match()
    {
        await Stack.LimitAsync(Ops.Rule("pages", "ip", capacity: 3, perSecond: 0.1, path: "/api/v1/sales/{saleId}", method: "GET"));
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Assert.Equal([404, 404, 404, 429], await StatusesAsync(4, i => anyone.GetAsync($"/api/v1/sales/s99{i}", from)));
        Assert.Equal(200, (await anyone.GetAsync(Page, from)).Status);
    }

    [Fact]
    public async Task Several_rules_give_all_of_their_tokens_or_none()
    {
        await Stack.LimitAsync(
            Ops.Rule("wide", "ip", capacity: 10, perSecond: 0.001, path: "/api/v1/**"),
            Ops.Rule("narrow", "ip", capacity: 1, perSecond: 0.001, path: Page),
            Ops.Rule("shared", "ip", capacity: 10, perSecond: 0.001, path: "/api/v1/**", scope: "cluster"));
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Assert.Equal([200, 429, 429, 429, 429, 429], await StatusesAsync(6, _ => anyone.GetAsync(Page, from)));
        // The wide rules gave one token, not six, so nine are left.
        Assert.Equal([.. Enumerable.Repeat(404, 9), 429], await StatusesAsync(10, _ => anyone.GetAsync("/api/v1/sales/s999", from)));
    }

    [Fact]
    public async Task A_request_that_a_shared_rule_refuses_costs_the_node_rules_nothing()
    {
        await Stack.LimitAsync(
            Ops.Rule("node", "ip", capacity: 3, perSecond: 0.001, path: "/api/v1/**"),
            Ops.Rule("cluster", "ip", capacity: 1, perSecond: 0.001, path: Page, scope: "cluster"));
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Assert.Equal([200, 429, 429, 429], await StatusesAsync(4, _ => anyone.GetAsync(Page, from)));
        Assert.Equal([404, 404, 429], await StatusesAsync(3, _ => anyone.GetAsync("/api/v1/sales/s999", from)));
    }

    [Theory]
    [InlineData("node", "cluster")]
    [InlineData("cluster", "node")]
    [InlineData("cluster", "cluster")]
    public async Task The_header_fields_are_those_of_the_rule_that_leaves_the_least(string tightScope, string wideScope)
    {
        var (tight, wide) = (Ops.Rule("tight", "ip", capacity: 4, perSecond: 0.001, path: Page, scope: tightScope), Ops.Rule("wide", "ip", capacity: 1_000, perSecond: 0.001, path: Page, scope: wideScope));
        foreach (var rules in (Dictionary<string, object?>[][])[[tight, wide], [wide, tight]])
        {
            await Stack.LimitAsync(rules);
            Assert.StartsWith("\"tight\";r=", (await Stack.Shopper("anyone").GetAsync(Page, Address())).Header("ratelimit"), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_cluster_rule_admits_its_rate_over_all_nodes_together()
    {
        const int PerSecond = 100;
        await Stack.LimitAsync(Ops.Rule("all", "global", capacity: PerSecond, perSecond: PerSecond, path: Page, scope: "cluster"));
        var admitted = new ConcurrentQueue<TimeSpan>();
        var clock = Stopwatch.StartNew();
        // The full bucket goes in the first two seconds. Later answers show the rate.
        var (begin, end) = (TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(12));
        await Crowd.EachAsync(Enumerable.Range(0, 8), 8, async worker =>
        {
            var shopper = Stack.Shopper("anyone", worker % 2);
            while (clock.Elapsed < end)
            {
                if ((await shopper.GetAsync(Page)).Status == 200) admitted.Enqueue(clock.Elapsed);
            }
        });
        var rate = admitted.Count(at => at >= begin && at < end) / (end - begin).TotalSeconds;
        Tell($"{rate} per second");
        Assert.InRange(rate, PerSecond * 0.95, PerSecond * 1.05);
    }

    [Fact]
    public async Task Only_proxies_that_are_trusted_name_the_client()
    {
        await Stack.LimitAsync(Ops.Rule("by-ip", "ip", capacity: 2, perSecond: 0.001, path: Page));
        var anyone = Stack.Shopper("anyone");
        var client = Address().Value;
        // The part that the client wrote itself stands in front, and changes nothing.
        Assert.Equal([200, 200, 429, 429], await StatusesAsync(4, i => anyone.GetAsync(Page, ("X-Forwarded-For", $"8.8.8.{i}, {client}"))));
        // The node passes over a trusted proxy further away. An untrusted one is the client.
        Assert.Equal(429, (await anyone.GetAsync(Page, ("X-Forwarded-For", $"{client}, 10.9.1.1"))).Status);
        var stranger = Address().Value;
        Assert.Equal([200, 200, 429], await StatusesAsync(3, _ => anyone.GetAsync(Page, ("X-Forwarded-For", $"{client}, {stranger}"))));
        Assert.Equal(200, (await anyone.GetAsync(Page, ("X-Forwarded-For", "no address at all"))).Status);
    }

    [Fact]
    public async Task An_IPv6_site_is_one_client()
    {
        await Stack.LimitAsync(Ops.Rule("by-site", "ip", capacity: 2, perSecond: 0.001, path: Page));
        var anyone = Stack.Shopper("anyone");
        var site = $"2001:db8:{Random.Shared.Next(0x10000):x}:{Random.Shared.Next(0x10000):x}";
        Assert.Equal([200, 200, 429], await StatusesAsync(3, i => anyone.GetAsync(Page, ("X-Forwarded-For", $"{site}::{i + 1}"))));
        Assert.Equal(200, (await anyone.GetAsync(Page, ("X-Forwarded-For", $"2001:db9:{site[9..]}::1"))).Status);
        // An IPv4 address is the same in either notation.
        var v4 = Address().Value;
        Assert.Equal([200, 200, 429], await StatusesAsync(3, i => anyone.GetAsync(Page, ("X-Forwarded-For", i == 1 ? $"::ffff:{v4}" : v4))));
    }

    [Theory]
    [InlineData("node")]
    [InlineData("cluster")]
    public async Task Whoever_does_not_stop_is_put_into_the_penalty_box(string scope)
    {
        await Stack.LimitAsync(Ops.Rule("box", "ip", capacity: 1, perSecond: 50, path: Page, scope: scope,
            more: ("penalty", new { rejections = 3, withinSeconds = 30, blockSeconds = 6 })));
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Answer? last = null;
        await Eventually.TrueAsync("the client is blocked", TimeSpan.FromSeconds(10), async () =>
            (await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ => last = await anyone.GetAsync(Page, from)))).Any(answer => answer.Status == 429 && answer.Header("ratelimit")!.EndsWith("t=6", StringComparison.Ordinal)));
        // The bucket fills fifty times a second, and yet nothing passes. The block lasts four times as long as this
        // check, so that a slow machine does not outlive it.
        var blocked = Stopwatch.StartNew();
        while (blocked.Elapsed < TimeSpan.FromMilliseconds(1_500)) Assert.Equal(429, (await anyone.GetAsync(Page, from)).Status);
        Assert.Equal(200, (await anyone.GetAsync(Page, Address())).Status);
        await Eventually.TrueAsync("the client may come again", TimeSpan.FromSeconds(15), async () => (await anyone.GetAsync(Page, from)).Status == 200);
    }

    [Theory]
    [InlineData("node")]
    [InlineData("cluster")]
    public async Task A_rule_that_only_monitors_counts_and_refuses_nobody(string scope)
    {
        var name = Unique("watch");
        await Stack.LimitAsync(Ops.Rule(name, "ip", capacity: 2, perSecond: 0.001, path: Page, scope: scope, more: ("monitorOnly", true)));
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Assert.Equal([200, 200, 200, 200, 200], await StatusesAsync(5, _ => anyone.GetAsync(Page, from)));
        using var http = new HttpClient();
        var metrics = await http.GetStringAsync(new Uri(Stack.Api.ManagementUrl, "/metrics"));
        Assert.Contains(metrics.Split('\n'), line => line.StartsWith("flashsale_limit_rejections_total", StringComparison.Ordinal)
            && line.Contains($"\"{name}\"", StringComparison.Ordinal) && line.Contains("\"false\"", StringComparison.Ordinal) && line.EndsWith(" 3", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Those_on_the_allowlist_are_not_counted()
    {
        var vip = Unique("vip");
        await Stack.LimitAsync(new
        {
            rules = new[] { Ops.Rule("one", "global", capacity: 1, perSecond: 0.001, path: Page) },
            allow = new { cidrs = new[] { "203.0.113.0/24" }, users = new[] { vip } },
        });
        var anyone = Stack.Shopper("anyone");
        Assert.Equal([200, 429], await StatusesAsync(2, _ => anyone.GetAsync(Page)));
        Assert.Equal([200, 200, 200], await StatusesAsync(3, _ => anyone.GetAsync(Page, ("X-Forwarded-For", "203.0.113.77"))));
        Assert.Equal([200, 200, 200], await StatusesAsync(3, _ => Stack.Shopper(vip).GetAsync(Page)));
    }

    [Fact]
    public async Task A_change_under_load_reaches_every_node_within_a_second_and_each_answer_is_by_the_old_or_the_new_rules()
    {
        await Stack.LimitAsync(Ops.Rule("old", "ip", capacity: 500_000, perSecond: 1, path: Page));
        using var done = new CancellationTokenSource();
        var policies = new ConcurrentBag<string>();
        var load = Crowd.EachAsync(Enumerable.Range(0, 4), 4, async worker =>
        {
            var (shopper, from) = (Stack.Shopper("anyone", worker % 2), Address());
            while (!done.IsCancellationRequested) policies.Add($"{(await shopper.GetAsync(Page, from)).Header("ratelimit-policy")}");
        });
        var took = await Stack.LimitAsync(Ops.Rule("new", "ip", capacity: 400_000, perSecond: 1, path: Page));
        var seen = policies.Count;
        await Eventually.TrueAsync("load goes on under the new rules", TimeSpan.FromSeconds(10), () => policies.Count > seen + 100);
        await done.CancelAsync();
        await load;
        Tell($"{took.TotalMilliseconds} ms, {policies.Count} answers");
        Assert.InRange(took, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Assert.Equal(["\"new\";q=400000;w=400000", "\"old\";q=500000;w=500000"], policies.Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_rule_that_stays_as_it_was_forgets_nothing()
    {
        var kept = Ops.Rule("kept", "ip", capacity: 2, perSecond: 0.001, path: Page);
        await Stack.LimitAsync(kept);
        var (anyone, from) = (Stack.Shopper("anyone"), Address());
        Assert.Equal([200, 200], await StatusesAsync(2, _ => anyone.GetAsync(Page, from)));
        await Stack.LimitAsync(kept, Ops.Rule("added", "ip", capacity: 100, perSecond: 1, path: Page));
        Assert.Equal(429, (await anyone.GetAsync(Page, from)).Status);
    }

    [Fact]
    public async Task A_bad_document_is_refused_as_a_whole_with_its_lines_and_the_last_good_one_stays()
    {
        await Stack.LimitAsync(Ops.Rule("good", "ip", capacity: 1, perSecond: 0.001, path: Page));
        using var bad = new StringContent("{\n \"rules\": [\n  {\"name\":\"bad\",\"match\":{\"path\":\"/**\"},\n   \"partition\":\"ip\",\"scope\":\"node\",\n   \"capacity\":-1,\"refillPerSecond\":1}]}", null, "application/json");
        var answer = await Stack.Manager.SendAsync(HttpMethod.Put, "/api/v1/ops/limits", bad);
        Assert.Equal((400, "invalid_request"), (answer.Status, answer.Code));
        Assert.Equal("5 rules[0].capacity must be an integer from 1 to 1000000", string.Join('|', answer.Json.GetProperty("errors").EnumerateArray().Select(error => $"{error.GetProperty("line")} {error.GetProperty("message")}")));
        Assert.Contains("\"good\"", (await Stack.Manager.GetAsync("/api/v1/ops/limits")).Text, StringComparison.Ordinal);
        Assert.Equal([200, 429], await StatusesAsync(2, async _ => await Stack.Shopper("anyone").GetAsync(Page, ("X-Forwarded-For", "198.51.100.99"))));
    }

    [Fact]
    public async Task A_document_is_replaced_only_by_who_has_seen_it()
    {
        var seen = (await Stack.Manager.GetAsync("/api/v1/ops/limits")).Header("etag")!;
        Assert.Equal(200, (await PutIfAsync(seen)).Status);
        var late = await PutIfAsync(seen);
        Assert.Equal((412, "precondition_failed"), (late.Status, late.Code));
        Assert.Equal(400, (await PutIfAsync("yesterday")).Status);
        var audit = (await Stack.Manager.GetAsync("/api/v1/audit?limit=1")).Text;
        Assert.Contains("ops.limits", audit, StringComparison.Ordinal);
        Assert.Contains("test-operator", audit, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Only_operators_set_limits()
    {
        using var manager = new Manager(() => Stack.Admin.Url, Manager.ManagerToken);
        Assert.Equal(200, (await manager.GetAsync("/api/v1/ops/limits")).Status);
        Assert.Equal((403, "forbidden"), await CodeAsync(manager.SendAsync(HttpMethod.Put, "/api/v1/ops/limits", new { rules = Array.Empty<object>() })));
        Assert.Equal((403, "forbidden"), await CodeAsync(manager.SendAsync(HttpMethod.Put, "/api/v1/ops/switches", new { level = 5, reason = "no" })));
    }

    private static async Task<(int, string?)> CodeAsync(Task<Answer> asked)
    {
        var answer = await asked;
        return (answer.Status, answer.Code);
    }

    private async Task<Answer> PutIfAsync(string etag)
    {
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Put, new Uri(Stack.Admin.Url, "/api/v1/ops/limits"))
        {
            Content = new StringContent("{\"rules\":[]}", null, "application/json"), Headers = { Authorization = new("Bearer", Manager.OperatorToken) },
        };
        request.Headers.TryAddWithoutValidation("If-Match", etag);
        return await Answer.OfAsync(http, request);
    }

    private static async Task<List<int>> StatusesAsync(int times, Func<int, Task<Answer>> ask)
    {
        var statuses = new List<int>();
        for (var i = 0; i < times; i++) statuses.Add((await ask(i)).Status);
        return statuses;
    }

    private static string Unique(string prefix) => $"{prefix}-{Guid.NewGuid():N}";

    // No other test uses this address.
    private static (string Name, string Value) Address() => ("X-Forwarded-For", $"100.{Random.Shared.Next(64, 128)}.{Random.Shared.Next(256)}.{Random.Shared.Next(1, 255)}");
}
