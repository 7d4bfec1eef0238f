using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>An Api sells on while nobody reads its log.</summary>
public sealed class StalledLogTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Purchases = 3_000;

    [Fact]
    public async Task An_Api_sells_on_when_its_log_is_full_and_not_read()
    {
        var folder = Directory.CreateTempSubdirectory("flashsale-log-");
        try
        {
            var pipe = Path.Combine(folder.FullName, "log");
            await ChildProcess.RunAsync("mkfifo", ["mkfifo", pipe]);
            // The pipe is open, so that the Api can write to it, but nobody ever reads from it.
            await using var reader = new FileStream(pipe, FileMode.Open, FileAccess.ReadWrite);
            var settings = Stack.Settings();
            // A request writes several lines, so some hundreds fill the pipe and the logger's queue.
            settings["Logging__Console__LogLevel__Default"] = "Trace";
            await using var api = new HostProcess("Api", settings, log: pipe);
            await api.StartAsync();
            var sale = await Stack.OpenSaleAsync(stock: Purchases);
            using var http = new HttpClient();
            await Eventually.GetAsync("the sale is shown", TimeSpan.FromSeconds(10), () => new Shopper(http, () => api.Url, "anyone").GetAsync($"/api/v1/sales/{sale.Id}"), page => page.Status == 200 && page.Member("status") == "open");
            await Crowd.EachAsync(Enumerable.Range(0, Purchases), 20, async i => Assert.Equal(202, (await new Shopper(http, () => api.Url, $"user-{i}").BuyAsync(sale)).Status));
            Assert.Equal(Purchases, (await Books.CheckAsync(Stack, sale)).Orders.Count);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }
}
