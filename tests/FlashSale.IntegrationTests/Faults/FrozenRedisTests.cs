using System.Diagnostics;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>
/// Redis answers nothing for ten seconds. No request waits for it, and no shopper that was refused gets an order.
/// </summary>
public sealed class FrozenRedisTests(Punctual fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<Punctual>
{
    private static readonly TimeSpan Frozen = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task No_request_outlives_its_deadline_nobody_told_otherwise_is_sold_to_and_retries_settle_the_rest()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100_000);
        Assert.True(await Crowd.BuyAsync(Stack, sale, users: 100, prefix: "before") > 0);

        Stack.Redis.Freeze();
        var clock = Stopwatch.StartNew();
        try
        {
            var number = 0;
            await Task.WhenAll(Enumerable.Range(0, 30).Select(async shopper =>
            {
                while (clock.Elapsed < Frozen)
                {
                    var i = Interlocked.Increment(ref number);
                    await Stack.Shopper($"frozen-{i}", i % 2).BuyAsync(sale, $"key-{i}");
                    await Task.Delay(20);
                }
            }));
        }
        finally
        {
            Stack.Redis.Thaw();
        }

        var frozen = sale.History.Attempts.Where(a => a.UserId.StartsWith("frozen-", StringComparison.Ordinal)).ToArray();
        Tell($"{sale.History.Summary}; slowest {frozen.Max(a => a.Answer.Took)}");
        Assert.All(frozen, a => Refusal.AssertIs(503, a.Answer.Code == "outcome_unknown" ? "outcome_unknown" : "temporarily_unavailable", a.Answer));
        Assert.Contains(frozen, a => a.Answer.Code == "temporarily_unavailable");
        var took = frozen.Select(a => a.Answer.Took).Order().ToArray();
        Assert.True(took[took.Length * 99 / 100] < TimeSpan.FromMilliseconds(500), $"One in a hundred was answered after {took[took.Length * 99 / 100]}.");
        Assert.True(took[^1] < 2 * Deadline, $"The slowest answer took {took[^1]}.");

        await Stack.SellsOnEveryNodeAsync(sale);
        // The books would show an order of a shopper that was told of no acceptance.
        await Books.CheckAsync(Stack, sale);

        await Crowd.EachAsync(frozen, 16, async a =>
        {
            // A retry may itself meet a stall of the test machine. The next retry settles it.
            await Eventually.GetAsync($"{a.UserId}, told {a.Answer.Code}, gets an answer that settles it", TimeSpan.FromSeconds(20),
                () => Stack.Shopper(a.UserId).BuyAsync(sale, a.Key), answer => answer.Status == 202);
        });
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_sale_page_and_a_stored_order_are_answered_while_redis_is_frozen()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        await Books.CheckAsync(Stack, sale);
        Stack.Redis.Freeze();
        try
        {
            var page = await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}");
            Assert.Equal(200, page.Status);
            Assert.True(page.Took < Deadline, $"The page took {page.Took}.");
            Assert.Equal(200, (await Stack.Shopper("buyer").MyOrdersAsync()).Status);
            // Redis might know an order of this sale that Postgres does not have yet, so a node cannot deny an unknown
            // one now.
            var unknown = bought.OrderId.ToByteArray(bigEndian: true);
            unknown[15] ^= 1;
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Shopper("buyer").OrderAsync(new Guid(unknown, bigEndian: true)));
            Assert.Equal(200, (await Stack.Shopper("buyer").OrderAsync(bought.OrderId)).Status);
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        await Books.CheckAsync(Stack, sale);
    }
}
