using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Xunit.Abstractions;

namespace FlashSale.IntegrationTests.Sales;

/// <summary>A sale sells from the moment it is open, and loading it is the manager's act alone.</summary>
public sealed class PreloadTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task A_sale_that_was_just_loaded_is_not_loaded_again_behind_the_managers_back()
    {
        // The workers look at all sales again and again; some of their looks fall into the middle of a load.
        for (var i = 0; i < 40; i++)
        {
            var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 1_000)]);
            var loaded = (await Stack.Manager.PreloadAsync(id)).Json.GetProperty("epoch").GetInt64();
            await Stack.Manager.OpenAsync(id);
            await Stack.StatusOnEveryNodeAsync(id, "open");
            var sale = new Sale(id, [new ItemDraft("phone-1", 1_000)]);
            await Crowd.AllBuyAsync(Stack, sale, users: 20);
            await using var connection = await Stack.Database.Source.OpenConnectionAsync();
            Assert.Equal(loaded, await connection.ExecuteScalarAsync<long>("select epoch from sale where sale_id = @id", new { id }));
        }
    }

    [Fact]
    public async Task A_sale_that_was_not_loaded_sells_nothing()
    {
        var id = await Stack.Manager.CreateSaleAsync([new ItemDraft("phone-1", 10)], opensIn: TimeSpan.FromSeconds(-5));
        foreach (var node in (int[])[0, 1])
            Refusal.AssertIs(404, "sale_not_found", await Stack.Shopper("buyer", node).PurchaseAsync(id, """{"sku":"phone-1","quantity":1}""", "k"));
    }

    [Fact]
    public async Task A_rebuild_under_load_neither_loses_nor_doubles_an_order()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        for (var round = 0; round < 3; round++)
        {
            await load.AcceptedMoreAsync(300);
            await Stack.Manager.PauseAsync(sale.Id);
            await Stack.Manager.RebuildAsync(sale.Id);
            await Stack.Manager.ResumeAsync(sale.Id);
        }
        await load.AcceptedMoreAsync(300);
        await load.StopAsync();
        Assert.DoesNotContain(sale.History.Attempts, a => !(a.Answer.Status == 202 || a.Answer.Code is "sale_paused" or "temporarily_unavailable" or "outcome_unknown"));
        await Books.CheckAsync(Stack, sale);
        await Crowd.ReplayAsync(Stack, sale, node: 0);
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }
}
