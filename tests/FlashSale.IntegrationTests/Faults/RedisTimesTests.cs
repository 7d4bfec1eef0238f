using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>Shoppers soon learn that Redis is gone, and can soon buy again when it is back.</summary>
public sealed class RedisTimesTests(Punctual fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<Punctual>
{
    [Fact]
    public async Task With_redis_gone_a_purchase_is_refused_within_a_quarter_of_a_second()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        // Buy before the kill, so that every node has its connection in use.
        Assert.True(await Crowd.BuyAsync(Stack, sale, users: 20) > 0);
        await Stack.Redis.KillAsync();
        try
        {
            List<TimeSpan> took = [];
            // In this time each node tries several times whether Redis is back.
            for (var clock = Stopwatch.StartNew(); clock.Elapsed < TimeSpan.FromSeconds(3); await Task.Delay(15))
            {
                // A node refuses a purchase in an unknown sale without Redis. Its time is the machine's own stall at
                // that moment.
                var shopper = Stack.Shopper($"late-{took.Count}", took.Count % 2);
                var control = shopper.PurchaseAsync("no-such-sale", """{"sku":"phone-1","quantity":1}""", "control");
                var answer = await shopper.BuyAsync(sale);
                // The first purchases may have been on their way when the connection broke.
                Refusal.AssertIs(503, took.Count < 6 && answer.Code == "outcome_unknown" ? "outcome_unknown" : "temporarily_unavailable", answer);
                took.Add(answer.Took - (await control).Took);
            }
            took.Sort();
            Tell($"{took.Count} refusals, beyond what the machine took: half within {took[took.Count / 2]}, 95 % within {took[took.Count * 95 / 100]}, all within {took[^1]}.");
            // One purchase in twenty may meet a stall that its control did not meet.
            Assert.True(took[took.Count * 95 / 100] < TimeSpan.FromMilliseconds(250), $"95 % were refused within {took[took.Count * 95 / 100]}.");
            Assert.True(took[^1] < TimeSpan.FromSeconds(1), $"The slowest refusal took {took[^1]}.");
            // Many purchases at once neither pile up nor wait for each other.
            await Crowd.EachAsync(Enumerable.Range(0, 400), 100, async i =>
            {
                var answer = await Stack.Shopper($"crowd-{i}", i % 2).BuyAsync(sale);
                Refusal.AssertIs(503, "temporarily_unavailable", answer);
                Assert.True(answer.Took < TimeSpan.FromSeconds(2), $"Purchase {i} of the crowd was answered after {answer.Took}.");
            });
            // Sale pages need no Redis.
            Assert.Equal(200, (await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}")).Status);
        }
        finally
        {
            await Stack.Redis.StartAsync();
        }
        await Stack.SellsOnEveryNodeAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_redis_that_lost_nothing_sells_again_within_two_seconds_of_having_loaded()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10_000);
        Assert.True(await Crowd.BuyAsync(Stack, sale, users: 500) > 0);
        for (var round = 0; round < 3; round++)
        {
            await Stack.Redis.RestartAsync();
            var took = await Stack.SellsOnEveryNodeAsync(sale);
            Tell($"Round {round}: every node sold again {took.TotalMilliseconds:0} ms after Redis had loaded.");
            Assert.True(took < TimeSpan.FromSeconds(2), $"It took {took}.");
        }
        await Books.CheckAsync(Stack, sale);
    }
}
