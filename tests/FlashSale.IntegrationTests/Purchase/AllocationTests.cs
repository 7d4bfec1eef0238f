using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// Checks the budget of the hot path: the bytes that the Api allocates per answer, all of Kestrel included, as the
/// running host counts them. Allocated bytes must be collected, and at the peak shoppers wait for the collections.
/// </summary>
public sealed class AllocationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Purchases = 4_000;
    private const int BytesPerAcceptance = 2_500;
    private const int BytesPerSoldOut = 1_000;

    // 350 bytes more were measured. Most of them are the header as Kestrel reads it: an unknown name and 80 characters.
    private const int BytesPerTicketedAcceptance = BytesPerAcceptance + 400;

    [Fact]
    public async Task An_acceptance_stays_within_its_budget()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await Crowd.AllBuyAsync(Stack, sale, users: Purchases, prefix: "warm");
        var bytes = await MeasureAsync(() => Crowd.AllBuyAsync(Stack, sale, users: Purchases, prefix: "bought"));
        Tell($"{bytes} bytes per acceptance");
        Assert.InRange(bytes, 1, BytesPerAcceptance);
    }

    [Fact]
    public async Task A_sold_out_answer_stays_within_its_budget()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        await Crowd.AllBuyAsync(Stack, sale, users: 1, prefix: "winner");
        await SoldOutAsync(sale, "warm");
        var bytes = await MeasureAsync(() => SoldOutAsync(sale, "late"));
        Tell($"{bytes} bytes per sold-out answer");
        Assert.InRange(bytes, 1, BytesPerSoldOut);
    }

    [Fact]
    public async Task An_acceptance_with_a_ticket_stays_within_its_budget_here_and_in_redis()
    {
        const int MoreBytesOfRedis = 20;
        // All units of each sale are sold, so that its buckets are as full as they are meant to be.
        var plain = await Stack.OpenSaleAsync(stock: 2 * Purchases);
        await Crowd.AllBuyAsync(Stack, plain, users: 2 * Purchases, prefix: "plain");
        var sale = await Stack.OpenTicketedSaleAsync(stock: 2 * Purchases);
        await BuyWithTicketsAsync(sale, "warm", await TicketsAsync(sale, "warm"));
        var tickets = await TicketsAsync(sale, "bought");
        var bytes = await MeasureAsync(() => BuyWithTicketsAsync(sale, "bought", tickets));
        await Books.CheckAsync(Stack, plain);
        await Books.CheckAsync(Stack, sale);
        var (without, with) = (await FactBytesAsync(plain), await FactBytesAsync(sale));
        Tell($"{bytes} bytes per acceptance; {with:0.0} bytes of facts per order, {without:0.0} without a ticket");
        Assert.InRange(bytes, 1, BytesPerTicketedAcceptance);
        Assert.InRange(with - without, 1, MoreBytesOfRedis);
    }

    private async Task<string[]> TicketsAsync(Sale sale, string prefix)
    {
        var tickets = new string[Purchases];
        await Crowd.EachAsync(Enumerable.Range(0, Purchases), 32, async i => tickets[i] = await Stack.Shopper($"{prefix}-{i}").TicketAsync(sale));
        return tickets;
    }

    private async Task BuyWithTicketsAsync(Sale sale, string prefix, string[] tickets)
    {
        await Crowd.EachAsync(Enumerable.Range(0, Purchases), 32, i => Stack.Shopper($"{prefix}-{i}").BuyAsync(sale, ticket: tickets[i]));
        sale.History.AssertEveryoneWasServed();
    }

    private async Task<double> FactBytesAsync(Sale sale)
    {
        var bytes = 0L;
        foreach (var key in await Stack.Redis.Client.ListAsync("KEYS", $"{sale.RedisPrefix.Replace("{", "[{]", StringComparison.Ordinal)}facts:*"))
            bytes += await Stack.Redis.Client.NumberAsync("MEMORY", "USAGE", key!, "SAMPLES", 0);
        return bytes / (2.0 * Purchases);
    }

    private async Task SoldOutAsync(Sale sale, string prefix)
    {
        Assert.Equal(0, await Crowd.BuyAsync(Stack, sale, users: Purchases, prefix: prefix));
        Assert.Equal(Purchases, sale.History.Attempts.Count(attempt => attempt.UserId.StartsWith(prefix, StringComparison.Ordinal) && attempt.Answer.Code == "sold_out"));
    }

    private async Task<double> MeasureAsync(Func<Task> purchases)
    {
        var before = await AllocatedAsync();
        await purchases();
        return Math.Round((await AllocatedAsync() - before) / Purchases);
    }

    private Task<double> AllocatedAsync() => Figures.ShownAsync(Stack.Api, "dotnet_gc_allocated_bytes_total");
}
