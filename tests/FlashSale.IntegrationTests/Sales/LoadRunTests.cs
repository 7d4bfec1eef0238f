using FlashSale.IntegrationTests.Events;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Sales;

/// <summary>
/// A sale that is marked as a load run sells as any other. Only a client that asks for its id sees it.
/// </summary>
public sealed class LoadRunTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private static readonly ItemDraft[] Items = [new("phone-1", Stock: 10)];

    [Fact]
    public async Task It_sells_and_is_found_by_its_id()
    {
        var sale = await Stack.OpenSaleAsync(Items, loadRun: true);
        Assert.Equal(202, (await Stack.Shopper("u").BuyAsync(sale)).Status);
        Assert.Single((await Books.CheckAsync(Stack, sale)).Orders);
        Assert.Equal("open", (await Stack.Shopper("u").GetAsync($"/api/v1/sales/{sale.Id}")).Member("status"));
        Assert.True((await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}")).Json.GetProperty("loadRun").GetBoolean());
        Assert.Equal(1, await OrdersAsync($"?saleId={sale.Id}", sale));
    }

    [Fact]
    public async Task Whoever_asks_for_sales_or_orders_in_general_does_not_see_it()
    {
        var load = await Stack.OpenSaleAsync(Items, loadRun: true);
        var real = await Stack.OpenSaleAsync(Items);
        foreach (var sale in (Sale[])[load, real])
        {
            Assert.Equal(202, (await Stack.Shopper("v").BuyAsync(sale)).Status);
            await Books.CheckAsync(Stack, sale);
        }
        var listed = (await Stack.Shopper("v").GetAsync("/api/v1/sales")).Json.GetProperty("sales").EnumerateArray().Select(sale => sale.GetProperty("saleId").GetString()).ToArray();
        Assert.Contains(real.Id, listed);
        Assert.DoesNotContain(load.Id, listed);
        foreach (var query in (string[])["", "?userId=v"])
        {
            Assert.Equal(1, await OrdersAsync(query, real));
            Assert.Equal(0, await OrdersAsync(query, load));
        }
    }

    [Fact]
    public async Task No_event_tells_of_its_orders_and_those_of_others_are_told_beside_them()
    {
        var load = await EventSale.OpenAsync(Stack, loadRun: true);
        var real = await EventSale.OpenAsync(Stack);
        // Wait until the events of other tests are published, so that the tap hears none of them.
        await Eventually.TrueAsync("every event is published", TimeSpan.FromSeconds(30), async () => await real.CountAsync("select count(*) from order_event where published_at is null") == 0);
        var tap = await EventTap.OpenAsync(Stack.Broker);
        foreach (var sale in (EventSale[])[load, real, load])
        {
            await sale.SellAsync(20, $"user-{sale.Orders.Count}");
            await sale.MoveAsync(prefix: $"user-{sale.Orders.Count - 20}");
        }
        // The rows of the load run are marked as published too, so that nothing waits for ever.
        await load.PublishedAsync();
        Assert.All(await real.CheckAsync(tap), message => Assert.Contains(message.OrderId, real.Expected.Keys));
    }

    private async Task<int> OrdersAsync(string query, Sale sale) =>
        Manager.Expect(200, await Stack.Manager.GetAsync($"/api/v1/orders{query}")).Json.GetProperty("orders").EnumerateArray().Count(order => order.GetProperty("saleId").GetString() == sale.Id);
}
