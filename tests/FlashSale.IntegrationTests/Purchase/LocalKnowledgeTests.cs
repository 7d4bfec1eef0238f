using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// A node answers sold out and not open yet from its own memory, but forgets them within a second of the change.
/// </summary>
public sealed class LocalKnowledgeTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Units_added_to_a_sold_out_item_are_sold_by_every_node_within_a_second()
    {
        var sale = await Stack.OpenSaleAsync(stock: 5);
        await Crowd.AllBuyAsync(Stack, sale, users: 5);
        foreach (var node in (int[])[0, 1, 0, 1])
            Assert.Equal("sold_out", (await Stack.Shopper("stranger", node).BuyAsync(sale)).Code);
        var change = await Stack.Manager.ChangeStockAsync(sale.Id, sale.Sku, +10);
        Assert.Equal(200, change.Status);
        Assert.Equal("15 10", $"{change.Member("stock")} {change.Member("remaining")}");
        await EveryNodeSellsWithinAsync(sale, Second);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_sale_that_is_opened_by_hand_is_sold_by_every_node_within_a_second()
    {
        var sale = await ScheduledSaleAsync(opensIn: TimeSpan.FromHours(1));
        foreach (var node in (int[])[0, 1, 0, 1])
            Assert.Equal((425, "sale_not_open"), StatusAndCode(await Stack.Shopper("early", node).BuyAsync(sale)));
        await Stack.Manager.OpenAsync(sale.Id);
        await EveryNodeSellsWithinAsync(sale, Second);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_scheduled_sale_opens_by_itself_and_not_a_moment_early()
    {
        var sale = await ScheduledSaleAsync(opensIn: TimeSpan.FromSeconds(4));
        var page = await Stack.Shopper("anyone").GetAsync($"/api/v1/sales/{sale.Id}");
        var opensAt = DateTimeOffset.Parse(page.Member("opensAt")!, CultureInfo.InvariantCulture);
        await using (var load = new Load(Stack, sale)) await load.AcceptedMoreAsync(50, seconds: 10);
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code == "sale_not_open"));
        Assert.Contains(sale.History.Attempts, a => a.Answer.Code == "sale_not_open");
        var first = sale.History.Accepted.Min(a => DateTimeOffset.Parse(a.Answer.Member("acceptedAt")!, CultureInfo.InvariantCulture));
        Assert.InRange(first - opensAt, TimeSpan.Zero, Second);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_refusal_before_the_opening_says_in_whole_seconds_when_to_come()
    {
        var sale = await ScheduledSaleAsync(opensIn: TimeSpan.FromSeconds(90));
        foreach (var node in (int[])[0, 1])
        {
            var before = TimeProvider.System.GetUtcNow();
            var answer = await Stack.Shopper("early", node).BuyAsync(sale);
            Assert.Equal((425, "sale_not_open"), StatusAndCode(answer));
            var page = await Stack.Shopper("early", node).GetAsync($"/api/v1/sales/{sale.Id}");
            var left = DateTimeOffset.Parse(page.Member("opensAt")!, CultureInfo.InvariantCulture) - before;
            // The node rounds up without jitter. Both clocks are the same machine's, and the answer comes a little
            // later.
            Assert.InRange(int.Parse(answer.Header("retry-after")!, CultureInfo.InvariantCulture), (int)Math.Ceiling(left.TotalSeconds) - 1, (int)Math.Ceiling(left.TotalSeconds));
        }
    }

    [Fact]
    public async Task A_sale_past_its_end_is_closed_without_anyone_closing_it()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 1_000)], opensIn: TimeSpan.FromMilliseconds(500), closesIn: TimeSpan.FromSeconds(4));
        await Stack.Manager.PreloadAsync(id);
        var sale = new Sale(id, [new ItemDraft("phone-1", 1_000)]);
        await Stack.StatusOnEveryNodeAsync(id, "open");
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Stack.StatusOnEveryNodeAsync(id, "closed");
        foreach (var node in (int[])[0, 1])
        {
            Assert.Equal((409, "sale_closed"), StatusAndCode(await Stack.Shopper("late", node).BuyAsync(sale)));
            await Crowd.ReplayAsync(Stack, sale, node);
        }
        await Books.CheckAsync(Stack, sale);
    }

    private async Task<Sale> ScheduledSaleAsync(TimeSpan opensIn)
    {
        ItemDraft[] items = [new("phone-1", 10_000)];
        var id = await Stack.Manager.CreateSaleAsync(items, opensIn);
        await Stack.Manager.PreloadAsync(id);
        await Stack.StatusOnEveryNodeAsync(id, "scheduled");
        return new Sale(id, items);
    }

    private async Task EveryNodeSellsWithinAsync(Sale sale, TimeSpan limit)
    {
        var took = await Task.WhenAll(Enumerable.Range(0, Stack.Apis.Count).Select(node =>
        {
            var number = 0;
            return Eventually.TrueAsync($"node {node} sells", TimeSpan.FromSeconds(10),
                async () => (await Stack.Shopper($"next-{node}-{number++}", node).BuyAsync(sale)).Status == 202);
        }));
        Assert.All(took, time => Assert.True(time <= limit, $"It took {time}."));
    }

    private static (int, string?) StatusAndCode(Answer answer) => (answer.Status, answer.Code);
}
