using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>On SIGTERM a host tells load balancers, lets streams and requests end, and is gone in time.</summary>
[Collection<OnOneOfEach>]
public sealed class ShutdownTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const int DrainSeconds = 4;

    // The drain, eight seconds for the requests under way, and the delays of a busy test machine.
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(DrainSeconds + 8 + 10);

    [Fact]
    public async Task A_node_with_a_thousand_open_streams_says_that_it_ends_then_ends_them_whole_and_exits()
    {
        const int Users = 125;
        const int Each = 8;
        var sale = await Stack.OpenSaleAsync(stock: Users + 1);
        await using var api = await StartAsync("Api");
        var orders = new Guid[Users];
        await Crowd.EachAsync(Enumerable.Range(0, Users), 8, async i => orders[i] = (await Stack.Shopper($"watcher-{i}").BuyAsync(sale)).OrderId);
        var streams = new EventClient[Users * Each];
        await Crowd.EachAsync(Enumerable.Range(0, streams.Length), 16, async i =>
        {
            streams[i] = await EventClient.OpenAsync(api, $"watcher-{i / Each}", orders[i / Each]);
            Assert.NotNull(await streams[i].NextAsync());
        });
        api.Mark();
        var clock = Stopwatch.StartNew();
        var exit = api.StopAsync();
        await Eventually.TrueAsync("the node says that it is not ready", TimeSpan.FromSeconds(DrainSeconds), async () => (await Figures.ReadyAsync(api)).Status == 503);
        // Clients that have not heard of it yet are served.
        var late = await RawHttp.PostAsync(api.Port, sale.OrdersPath, "Idempotency-Key: late\r\n", """{"sku":"phone-1","quantity":1}""");
        Assert.Equal(202, late.Status);
        sale.History.Add(new Attempt("nobody", "late", sale.Sku, 1, late));
        // A stream that was cut off would throw.
        await Task.WhenAll(streams.Select(stream => stream.RestAsync()));
        Assert.Equal(0, await exit);
        Tell($"gone after {clock.Elapsed.TotalSeconds:0.0} s");
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, Longest);
        Assert.DoesNotContain(api.OutputSinceMark.Split('\n'), line => line.Contains(" fail: ", StringComparison.Ordinal) || line.Contains(" warn: ", StringComparison.Ordinal));
        foreach (var stream in streams) stream.Dispose();
        await Books.CheckAsync(Stack, sale);
    }

    [Theory]
    [InlineData("Api")]
    [InlineData("Admin")]
    [InlineData("Worker")]
    public async Task A_host_ends_in_time_while_redis_hangs(string name)
    {
        await using var host = await StartAsync(name);
        Stack.Redis.Freeze();
        try
        {
            await Eventually.TrueAsync("the host has noticed", TimeSpan.FromSeconds(20),
                async () => (await Figures.ReadyAsync(host)).Text.Contains("redis: does not answer since ", StringComparison.Ordinal));
            // The page tells people. Its status stays 200, since load balancers would otherwise take all hosts out at
            // once.
            Assert.Equal(200, (await Figures.ReadyAsync(host)).Status);
            var clock = Stopwatch.StartNew();
            Assert.Equal(0, await host.StopAsync());
            Tell($"{name} gone after {clock.Elapsed.TotalSeconds:0.0} s");
            Assert.InRange(clock.Elapsed, TimeSpan.Zero, Longest);
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        Assert.DoesNotContain(host.Output.Split('\n'), line => line.Contains(" fail: ", StringComparison.Ordinal));
    }

    private async Task<HostProcess> StartAsync(string name)
    {
        var host = new HostProcess(name, new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Transport__DrainSeconds"] = $"{DrainSeconds}" });
        await host.StartAsync();
        return host;
    }
}
