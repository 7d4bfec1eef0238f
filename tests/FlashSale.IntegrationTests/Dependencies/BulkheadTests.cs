using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>A stack with the smallest pool that a worker allows.</summary>
public sealed class SmallPool() : StackFixture(new StackOptions
{
    Settings = { ["Postgres__MaxPoolSize"] = "6", ["Dependencies__Postgres__TimeoutMilliseconds"] = "20000" },
});

/// <summary>A slow Postgres holds up the callers that wait for it, and nobody else.</summary>
public sealed class BulkheadTests(SmallPool fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<SmallPool>
{
    private const int Pool = 6;
    private const int Orders = 60;
    private const string InFlight = "flashsale_dependency_in_flight{dependency=\"postgres\"}";

    [Fact]
    public async Task With_all_queries_hanging_the_pool_is_all_they_take_and_the_rest_goes_on()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        await Crowd.AllBuyAsync(Stack, sale, users: Orders, prefix: "reader");
        await Books.CheckAsync(Stack, sale);
        Task<Answer[]> reads;
        await using (await TableLock.OfOrdersAsync(Stack.Database))
        {
            reads = Task.WhenAll(sale.History.Accepted.Select(told => Stack.Shopper(told.UserId).OrderAsync(told.Answer.OrderId)));
            await Eventually.TrueAsync("the bulkhead is full", TimeSpan.FromSeconds(10), async () => await Figures.OfAsync(Stack.Api, InFlight) >= Pool);
            await Eventually.TrueAsync("those who wait are told", TimeSpan.FromSeconds(10),
                async () => await Figures.OfAsync(Stack.Api, "flashsale_dependency_rejections_total{dependency=\"postgres\",reason=\"full\"}") >= Orders - Pool);
            Assert.Equal(Pool, await Figures.OfAsync(Stack.Api, InFlight));
            for (var i = 0; i < 50; i++)
            {
                var bought = await Stack.Shopper($"meanwhile-{i}").BuyAsync(sale);
                Assert.Equal(202, bought.Status);
                Assert.InRange(bought.Took, TimeSpan.Zero, TimeSpan.FromSeconds(1));
                Assert.Equal("accepted", (await Stack.Shopper($"meanwhile-{i}").OrderAsync(bought.OrderId)).Member("status"));
            }
            Assert.Equal(200, (await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}")).Status);
            Assert.Equal(200, (await Figures.ReadyAsync(Stack.Api)).Status);
            Assert.False(reads.IsCompleted);
        }
        var answers = await reads;
        Assert.Equal(Pool, answers.Count(answer => answer.Status == 200));
        var refused = answers.Where(answer => answer.Status != 200).ToList();
        Assert.All(refused, answer => Refusal.AssertIs(503, "temporarily_unavailable", answer));
        Tell($"{refused.Count} of {Orders} were told after {refused.Max(answer => answer.Took).TotalMilliseconds:0} ms at the latest");
        Assert.InRange(refused.Max(answer => answer.Took), TimeSpan.FromMilliseconds(400), TimeSpan.FromSeconds(3));
        await Books.CheckAsync(Stack, sale);
    }
}
