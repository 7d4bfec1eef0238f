using System.Text.Json;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// Checks the promises I1 to I7 with the judge of the load runs. The judge compares the two stores, the ledger's own
/// answer and the answers that shoppers got. Every test of a fault, a race or a load ends here.
/// </summary>
public static class Books
{
    /// <summary>Waits until the sale is at rest, and fails with the list of broken promises.</summary>
    /// <exception cref="Xunit.Sdk.XunitException">A promise is broken, or the sale is not at rest within the
    /// deadline.</exception>
    public static async Task<BooksView> CheckAsync(Stack stack, Sale sale, Loss loss = Loss.None, int restSeconds = 60)
    {
        var view = await RestAsync(stack, sale, TimeSpan.FromSeconds(restSeconds));
        List<string> broken = [.. Judge(view, sale.History, loss), .. JudgeLedger(view, await LedgerAsync(stack, sale))];
        if (broken.Count > 0) Assert.Fail($"{broken.Count} promises are broken ({sale.History.Summary}):\n{string.Join('\n', broken.Take(30))}");
        return view;
    }

    /// <summary>Reads the books until no order is on its way.</summary>
    public static async Task<BooksView> RestAsync(Stack stack, Sale sale, TimeSpan deadline)
    {
        // Wait for the outbox first. Reading all orders over and over would compete with the work that the test waits
        // for.
        await Eventually.TrueAsync($"the outbox of {sale.Id} is empty", deadline, async () => await stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") == 0);
        BooksView? view = null;
        await Eventually.TrueAsync($"no order of {sale.Id} is in flight", deadline, async () =>
        {
            view = await ReadAsync(stack, sale);
            return view.IsAtRest;
        });
        return view!;
    }

    public static async Task<BooksView> ReadAsync(Stack stack, Sale sale)
    {
        await using var connection = await stack.Database.Source.OpenConnectionAsync();
        return await BooksView.ReadAsync(connection, stack.Redis.Client, sale.Id);
    }

    /// <summary>The broken promises of a sale at rest.</summary>
    public static IReadOnlyList<string> Judge(BooksView view, History history, Loss loss = Loss.None) =>
        LoadTests.Verdicts.Judge.Of(view, history.Told, loss).Findings.Lines;

    /// <summary>The differences between the product's own ledger and these books.</summary>
    public static IReadOnlyList<string> JudgeLedger(BooksView view, JsonElement ledger) => LoadTests.Verdicts.Judge.OfLedger(view, ledger).Lines;

    // An Admin host that has just lost a store answers 503, and is connected again a little later than the other hosts.
    private static async Task<JsonElement> LedgerAsync(Stack stack, Sale sale)
    {
        var answer = await Eventually.GetAsync("the ledger answers", TimeSpan.FromSeconds(10),
            () => stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/ledger"), answer => answer.Status != 503);
        return Manager.Expect(200, answer).Json;
    }
}
