using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Purchase;

/// <summary>
/// A buyer's retry gets the first answer on every node, even after the sale has changed. Strangers get the present
/// state.
/// </summary>
public sealed class RetryTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task After_the_last_unit_is_sold_buyers_get_their_202_and_strangers_sold_out()
    {
        var sale = await Stack.OpenSaleAsync(stock: 20);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        // Every node learns of the sell-out and then refuses strangers by itself. Buyers must still get through.
        for (var round = 0; round < 3; round++)
        {
            await StrangersAreToldAsync(sale, "sold_out");
            await BuyersAreServedAsync(sale);
        }
        await Books.CheckAsync(Stack, sale);
        await BuyersAreServedAsync(sale);
    }

    [Fact]
    public async Task A_unit_that_came_back_and_was_bought_on_one_node_is_known_to_its_buyers_retry_on_the_other()
    {
        const int Rounds = 6;
        var sale = await Stack.OpenSaleAsync(stock: 1, perUserLimit: 2);
        var holder = await Stack.Shopper("buyer-0", node: 1).BuyAsync(sale);
        for (var round = 1; round <= Rounds; round++)
        {
            await StoredAsync(holder.OrderId, $"buyer-{round - 1}");
            using var over = new CancellationTokenSource();
            // Strangers ask node 0 all the time, so that it knows of the sell-out. They want two units and never get
            // the one.
            var strangers = KeepAskingAsync(sale, node: 0, over.Token);
            await Eventually.TrueAsync("node 0 says sold out", TimeSpan.FromSeconds(10),
                async () => (await Stack.Shopper("stranger").BuyAsync(sale, quantity: 2)).Code == "sold_out");
            Assert.Equal(200, (await Stack.Shopper($"buyer-{round - 1}", node: 1).CancelAsync(holder.OrderId)).Status);
            var (buyer, key) = ($"buyer-{round}", Guid.NewGuid().ToString());
            holder = await Eventually.GetAsync("the unit is sold again", TimeSpan.FromSeconds(10),
                () => Stack.Shopper(buyer, node: 1).BuyAsync(sale, key), answer => answer.Status == 202);

            var again = await Stack.Shopper(buyer, node: 0).BuyAsync(sale, key);
            Assert.Equal((202, true, holder.Text), (again.Status, again.IsReplay, again.Text));
            await over.CancelAsync();
            await strangers;
        }
        await Books.CheckAsync(Stack, sale);
    }

    private async Task KeepAskingAsync(Sale sale, int node, CancellationToken over)
    {
        for (var i = 0; !over.IsCancellationRequested; i++)
        {
            var answer = await Stack.Shopper($"stranger-{i % 50}", node).BuyAsync(sale, quantity: 2);
            Assert.Equal((409, "sold_out"), (answer.Status, answer.Code));
            await Task.Delay(5, CancellationToken.None);
        }
    }

    private Task<Answer> StoredAsync(Guid orderId, string user) => Eventually.GetAsync($"{orderId} is stored", TimeSpan.FromSeconds(20),
        () => Stack.Shopper(user).OrderAsync(orderId), answer => answer.Status == 200 && answer.Member("status") == "pending_payment");

    [Fact]
    public async Task While_a_sale_is_paused_buyers_get_their_202_and_strangers_sale_paused()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Stack.Manager.PauseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "paused");
        await StrangersAreToldAsync(sale, "sale_paused");
        await BuyersAreServedAsync(sale);
        await Stack.Manager.ResumeAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
        await Crowd.AllBuyAsync(Stack, sale, users: 10, prefix: "later");
        await BuyersAreServedAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task After_a_sale_is_closed_buyers_get_their_202_and_strangers_sale_closed()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        await Crowd.AllBuyAsync(Stack, sale, users: 20);
        await Stack.Manager.CloseAsync(sale.Id);
        await Stack.StatusOnEveryNodeAsync(sale.Id, "closed");
        for (var round = 0; round < 3; round++)
        {
            await StrangersAreToldAsync(sale, "sale_closed");
            await BuyersAreServedAsync(sale);
        }
        await Books.CheckAsync(Stack, sale);
        await BuyersAreServedAsync(sale);
    }

    [Fact]
    public async Task A_node_started_after_the_sell_out_serves_buyers_and_refuses_strangers()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await Crowd.AllBuyAsync(Stack, sale, users: 10);
        await StrangersAreToldAsync(sale, "sold_out");
        await Stack.Apis[1].RestartAsync();
        await StrangersAreToldAsync(sale, "sold_out");
        await BuyersAreServedAsync(sale);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Pause_and_close_stop_the_sale_for_everyone_at_once()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(200);
        await Stack.Manager.PauseAsync(sale.Id);
        // The answer to `pause` promises that no later purchase is accepted.
        var late = await Stack.Shopper("late").BuyAsync(sale);
        Assert.Equal((409, "sale_paused"), (late.Status, late.Code));
        await load.StopAsync();
        await Books.CheckAsync(Stack, sale);
        await BuyersAreServedAsync(sale);
    }

    private async Task BuyersAreServedAsync(Sale sale)
    {
        for (var node = 0; node < Stack.Apis.Count; node++) await Crowd.ReplayAsync(Stack, sale, node);
    }

    private async Task StrangersAreToldAsync(Sale sale, string code)
    {
        for (var node = 0; node < Stack.Apis.Count; node++)
        {
            for (var i = 0; i < 5; i++)
            {
                var answer = await Stack.Shopper($"stranger-{Guid.NewGuid()}", node).BuyAsync(sale);
                Assert.Equal((409, code), (answer.Status, answer.Code));
            }
        }
    }
}
