using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>A primary and a standby that streams from it.</summary>
public sealed class WithStandby() : StackFixture(new StackOptions { OwnPostgres = true })
{
    public PostgresServer Standby { get; private set; } = null!;

    /// <summary>A node that reads orders from the standby.</summary>
    public HostProcess Api { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Standby = await Stack.Postgres!.StartStandbyAsync();
        var url = Stack.Database.UrlOn(Standby);
        Api = new HostProcess("Api", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Postgres__ReplicaUrl"] = url });
        await Api.StartAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        if (Api is not null) await Api.DisposeAsync();
        if (Standby is not null) await Standby.DisposeAsync();
        await base.DisposeAsync();
    }
}

/// <summary>
/// A node does not read a standby that is far behind. No standby shows a shopper an order from before the shopper's own
/// change.
/// </summary>
public sealed class LaggingReplicaTests(WithStandby fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<WithStandby>
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(30) };

    [Fact]
    public async Task A_standby_that_lags_hides_no_change()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (here, elsewhere) = ((await Stack.Shopper("here").BuyAsync(sale)).OrderId, (await Stack.Shopper("elsewhere").BuyAsync(sale)).OrderId);
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.CaughtUpAsync(fixture.Standby);
        // From here on the standby replays nothing while the test runs.
        await fixture.Standby.SetAsync("recovery_min_apply_delay", "1h");
        try
        {
            Assert.Equal(200, (await Shopper("here").CancelAsync(here)).Status);
            Assert.Equal("cancelled", (await Shopper("here").OrderAsync(here)).Member("status"));
            Assert.Equal(200, (await Stack.Shopper("elsewhere").CancelAsync(elsewhere)).Status);
            await Eventually.GetAsync("the primary is read", TimeSpan.FromSeconds(30), () => Shopper("elsewhere").OrderAsync(elsewhere), answer => answer.Member("status") == "cancelled");
            await Eventually.GetAsync("the primary's list is read", TimeSpan.FromSeconds(30), () => Shopper("elsewhere").MyOrdersAsync(),
                answer => answer.Json.GetProperty("orders")[0].GetProperty("status").GetString() == "cancelled");
        }
        finally
        {
            await fixture.Standby.SetAsync("recovery_min_apply_delay", null);
        }
    }

    [Fact]
    public async Task A_standby_that_hangs_keeps_no_read_waiting_for_long()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper("waits").BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        await Stack.Postgres!.CaughtUpAsync(fixture.Standby);
        Assert.Equal(200, (await Shopper("waits").OrderAsync(order)).Status);
        fixture.Standby.Freeze();
        try
        {
            // A read that was on its way to the standby waits for its deadline. Those after it do not.
            await Eventually.TrueAsync("the last answer is out of date", TimeSpan.FromSeconds(60), async () =>
            {
                var began = Stopwatch.StartNew();
                Assert.Equal(200, (await Shopper("waits").OrderAsync(order)).Status);
                Tell($"a read took {began.ElapsedMilliseconds} ms");
                return began.Elapsed < TimeSpan.FromSeconds(1);
            });
            var all = Stopwatch.StartNew();
            Assert.All(await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => Shopper("waits").OrderAsync(order))), answer => Assert.Equal(200, answer.Status));
            Tell($"50 reads took {all.ElapsedMilliseconds} ms");
        }
        finally
        {
            fixture.Standby.Thaw();
        }
    }

    private Shopper Shopper(string user) => new(Http, () => fixture.Api.Url, user);
}
