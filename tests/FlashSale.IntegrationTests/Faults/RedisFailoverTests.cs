using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>Two Api nodes and two workers that reach Redis by a name.</summary>
public sealed class RedisBehindName() : StackFixture(new StackOptions { Apis = 2, Workers = 2, RedisByName = true });

/// <summary>
/// A replica becomes the primary, while the old primary lives on as its replica and keeps every connection.
/// </summary>
public sealed class RedisFailoverTests(RedisBehindName fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<RedisBehindName>
{
    [Fact]
    public async Task A_promoted_replica_sells_on_while_the_old_primary_lives()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10_000);
        Assert.Equal(100, await Crowd.BuyAsync(Stack, sale, users: 100));
        for (var round = 0; round < 2; round++)
        {
            await Stack.FailOverRedisAsync();
            var clock = Stopwatch.StartNew();
            // Probe with a purchase. A replica also answers requests that write nothing, so they would not show a host
            // that stayed with the old primary and could never sell again.
            for (var node = 0; node < Stack.Apis.Count; node++)
            {
                await Eventually.GetAsync($"node {node} sells", TimeSpan.FromSeconds(30),
                    () => Stack.Shopper($"probe-{Guid.NewGuid():N}", node).BuyAsync(sale), answer => answer.Status == 202);
            }
            Tell($"Round {round}: every node sold again {clock.ElapsedMilliseconds} ms after the name had moved.");
            Assert.Equal(100, await Crowd.BuyAsync(Stack, sale, users: 100, $"round-{round}"));
        }
        // A manager's actions and figures reach the new primary as well.
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_name_that_leads_to_a_replica_refuses_purchases_until_it_leads_to_the_primary()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await using var other = await RedisServer.StartNewAsync();
        await other.FollowAsync(Stack.Redis);
        await other.PromoteAsync();
        await Stack.Redis.FollowAsync(other);
        await Eventually.GetAsync("the node knows that it talks to a replica", TimeSpan.FromSeconds(20),
            () => Stack.Shopper("early").BuyAsync(sale), answer => answer is { Status: 503, Code: "temporarily_unavailable" });
        await Stack.Redis.PromoteAsync();
        await other.FollowAsync(Stack.Redis);
        await Eventually.GetAsync("the node sells", TimeSpan.FromSeconds(30), () => Stack.Shopper("late").BuyAsync(sale), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }
}
