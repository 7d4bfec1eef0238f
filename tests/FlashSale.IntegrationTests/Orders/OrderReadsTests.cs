using System.Globalization;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Orders;

/// <summary>Shoppers can read their orders from the moment of the 202.</summary>
public sealed class OrderReadsTests(TwoOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<TwoOfEach>
{
    [Fact]
    public async Task An_order_is_readable_on_every_node_from_the_moment_of_the_202()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100, perUserLimit: 2);
        for (var i = 0; i < 20; i++)
        {
            var bought = await Stack.Shopper($"user-{i}").BuyAsync(sale, quantity: 2);
            var order = await Stack.Shopper($"user-{i}", node: 1).OrderAsync(bought.OrderId);
            Assert.True(order.Status == 200, $"{order}");
            Assert.Contains(order.Member("status"), (string[])["accepted", "pending_payment"]);
            foreach (var member in (string[])["orderId", "saleId", "sku", "quantity", "amount", "acceptedAt"]) Assert.Equal(bought.Member(member), order.Member(member));
        }
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_stored_order_tells_when_it_was_placed_and_until_when_it_can_be_paid()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        await Books.CheckAsync(Stack, sale);
        foreach (var node in (int[])[0, 1])
        {
            var order = await Stack.Shopper("buyer", node).OrderAsync(bought.OrderId);
            Assert.Equal("pending_payment", order.Member("status"));
            Assert.Equal(bought.Member("acceptedAt"), order.Member("acceptedAt"));
            Assert.True(Time(order, "placedAt") >= Time(order, "acceptedAt"));
            Assert.Equal(TimeSpan.FromMinutes(15), Time(order, "payBy") - Time(order, "placedAt"));
            Assert.Equal(["acceptedAt", "amount", "closedAt", "orderId", "paidAt", "payBy", "placedAt", "quantity", "reason", "saleId", "sku", "status"],
                order.Json.EnumerateObject().Select(member => member.Name).Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public async Task An_order_in_flight_is_accepted_and_becomes_pending_when_a_worker_is_there()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        foreach (var worker in Stack.Workers) worker.Freeze();
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        var order = await Stack.Shopper("buyer", node: 1).OrderAsync(bought.OrderId);
        Assert.Equal("accepted", order.Member("status"));
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("somebody-else").OrderAsync(bought.OrderId));
        foreach (var worker in Stack.Workers) worker.Thaw();
        await Eventually.GetAsync("the order is stored", TimeSpan.FromSeconds(60), () => Stack.Shopper("buyer").OrderAsync(bought.OrderId), answer => answer.Member("status") == "pending_payment");
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Anothers_order_and_an_unknown_one_are_equally_not_found()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        await Books.CheckAsync(Stack, sale);
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("somebody-else").OrderAsync(bought.OrderId));
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("buyer").OrderAsync(Guid.NewGuid()));
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("somebody-else").GetAsync($"/api/v1/orders/{bought.OrderId}/events"));
        // The id has the right shape and belongs to this very sale, but no order has it.
        var bytes = bought.OrderId.ToByteArray(bigEndian: true);
        bytes[15] ^= 1;
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("buyer").OrderAsync(new Guid(bytes, bigEndian: true)));
    }

    [Fact]
    public async Task My_orders_come_newest_first_page_by_page_and_are_only_mine()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100, perUserLimit: 50);
        var mine = $"buyer-{Guid.NewGuid():N}";
        List<Guid> bought = [];
        for (var i = 0; i < 7; i++)
        {
            bought.Add((await Stack.Shopper(mine, i % 2).BuyAsync(sale)).OrderId);
            await Stack.Shopper($"{mine}-not", i % 2).BuyAsync(sale);
        }
        await Books.CheckAsync(Stack, sale);

        List<Guid> listed = [];
        string? cursor = null;
        do
        {
            var page = await Stack.Shopper(mine, listed.Count % 2).MyOrdersAsync($"?limit=3{(cursor is null ? "" : $"&cursor={Uri.EscapeDataString(cursor)}")}");
            Assert.Equal(200, page.Status);
            var orders = page.Json.GetProperty("orders").EnumerateArray().ToArray();
            Assert.InRange(orders.Length, 1, 3);
            Assert.All(orders, order => Assert.Equal("pending_payment", order.GetProperty("status").GetString()));
            listed.AddRange(orders.Select(order => order.GetProperty("orderId").GetGuid()));
            cursor = page.Json.GetProperty("nextCursor").GetString();
        }
        while (cursor is not null && listed.Count < 20);
        bought.Reverse();
        Assert.Equal(bought, listed);
        Assert.Empty((await Stack.Shopper("bought-nothing").MyOrdersAsync()).Json.GetProperty("orders").EnumerateArray());
    }

    private static DateTimeOffset Time(Answer answer, string member) => DateTimeOffset.Parse(answer.Member(member)!, CultureInfo.InvariantCulture);
}
