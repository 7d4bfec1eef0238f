using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// The product is built for such a sale: many more users than units, and each user asks again and again.
/// </summary>
public sealed class ThousandUnitsTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task A_thousand_units_go_to_a_thousand_of_five_thousand_users_who_all_ask_thrice()
    {
        const int units = 1_000;
        const int users = 5_000;
        var sale = await Stack.OpenSaleAsync(units);
        using var watching = new CancellationTokenSource();
        var ledgers = WatchLedgerAsync(sale, watching.Token);

        // Each user asks twice with one key and once with another, and the requests of all users are mixed.
        (int User, string Key)[] requests = [.. Enumerable.Range(0, users).SelectMany(user => (string[])["a", "a", "b"], (user, key) => (user, key))];
        Random.Shared.Shuffle(requests);
        await Crowd.EachAsync(requests.Select((request, i) => (request, node: i % 2)), 200,
            work => Stack.Shopper($"user-{work.request.User}", work.node).BuyAsync(sale, work.request.Key));

        Assert.Equal(requests.Length, sale.History.Attempts.Count);
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code is "sold_out" or "purchase_limit_reached"));
        Assert.Equal(units, sale.History.Accepted.Count);
        Assert.Equal(units, sale.History.Accepted.Select(a => a.UserId).Distinct().Count());

        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(units, view.Items.Single().Sold);
        Assert.Equal(0, view.Remaining[sale.Sku]);

        await watching.CancelAsync();
        var unbalanced = (await ledgers).Where(ledger => !ledger.GetProperty("balanced").GetBoolean()).ToArray();
        Assert.True(unbalanced.Length == 0, $"{unbalanced.Length} ledgers were not balanced while the sale ran, such as {unbalanced.FirstOrDefault()}");
    }

    [Fact]
    public async Task Items_with_limits_of_their_own_and_a_limit_of_the_sale_are_sold_within_both()
    {
        var sale = await Stack.OpenSaleAsync([new ItemDraft("a", 300, PerUserLimit: 2), new ItemDraft("b", 500, PerUserLimit: 3), new ItemDraft("c", 1, PerUserLimit: 5)], perUserLimit: 4);
        (int User, string Sku, int Quantity)[] requests =
            [.. Enumerable.Range(0, 300).SelectMany(_ => (string[])["a", "a", "b", "b", "c"], (user, sku) => (user, sku, Random.Shared.Next(1, 4)))];
        Random.Shared.Shuffle(requests);
        await Crowd.EachAsync(requests.Select((request, i) => (request, node: i % 2)), 64,
            work => Stack.Shopper($"user-{work.request.User}", work.node).BuyAsync(sale, sku: work.request.Sku, quantity: work.request.Quantity));
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code is "sold_out" or "purchase_limit_reached"));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(1, view.Items.Single(item => item.Sku == "c").Sold);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }

    private async Task<IReadOnlyList<JsonElement>> WatchLedgerAsync(Sale sale, CancellationToken stop)
    {
        List<JsonElement> ledgers = [];
        while (!stop.IsCancellationRequested)
        {
            ledgers.Add(await Stack.Manager.LedgerAsync(sale.Id));
            await Task.Delay(100, CancellationToken.None);
        }
        return ledgers;
    }
}
