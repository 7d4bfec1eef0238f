using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>The figures of a sale come from counters that move with the orders.</summary>
[Collection<OnOneOfEach>]
public sealed class StatsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    [Fact]
    public async Task Counters_tell_the_same_as_the_orders_whatever_moves_them()
    {
        var sale = await Stack.OpenSaleAsync([new("a", 100, PerUserLimit: 5), new("b", 100, PerUserLimit: 5)]);
        var orders = new List<Guid>();
        for (var i = 0; i < 8; i++) orders.Add((await Stack.Shopper($"shopper-{i}").BuyAsync(sale, sku: i % 2 == 0 ? "a" : "b", quantity: i % 3 + 1)).OrderId);
        await Eventually.GetAsync("all are stored", TimeSpan.FromSeconds(30), () => ScalarAsync<long>("select count(*) from orders where sale_id = @Id", new { sale.Id }), count => count == 8);
        Manager.Expect(200, await Stack.Shopper("shopper-0").SendAsync(HttpMethod.Post, $"/api/v1/orders/{orders[0]}/cancel"));
        Assert.Equal("paid", await ScalarAsync<string>("select pay_order(@id, 'pay_stats', 399800, 'CNY')", new { id = orders[1] }));
        await ExecuteAsync("update orders set status = 'rejected' where order_id = @id", new { id = orders[2] });
        await ExecuteAsync("update orders set status = case status when 'rejected' then 'expired' else 'refunded' end where order_id = any(@ids)", new { ids = new[] { orders[2], orders[3] } });
        await ExecuteAsync("update orders set reason = 'of no consequence' where order_id = @id", new { id = orders[4] });
        await AssertSameAsync(sale.Id);
    }

    [Fact]
    public async Task Figures_are_told_while_nobody_may_read_the_orders()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        await using (await TableLock.OfOrdersAsync(Stack.Database))
        {
            Assert.Equal(10, (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0].GetProperty("remaining").GetInt32());
        }
    }

    [Fact]
    public async Task An_archived_sale_is_told_as_such_and_keeps_its_figures()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = (await Stack.Shopper("buyer").BuyAsync(sale)).OrderId;
        await Eventually.GetAsync("it is stored", TimeSpan.FromSeconds(30), () => ScalarAsync<long>("select count(*) from orders where order_id = @orderId", new { orderId }), count => count == 1);
        await Stack.Manager.CloseAsync(sale.Id);
        // The archive leaves the sale in Postgres in the same state.
        await ExecuteAsync("update sale set status = 'archived', archived_at = now(), version = version + 1 where sale_id = @Id", new { sale.Id });
        Assert.Equal("archived", (await Stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}")).Member("status"));
        var item = (await Stack.Manager.StatsAsync(sale.Id)).GetProperty("items")[0];
        Assert.Equal((10, 9, 1, 1), (item.GetProperty("stock").GetInt32(), item.GetProperty("remaining").GetInt32(), item.GetProperty("accepted").GetInt32(), item.GetProperty("persisted").GetInt32()));
        Assert.Contains("archived", Refusal.AssertIs(409, "sale_state_conflict", await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/open")).Text);
    }

    private async Task AssertSameAsync(string saleId) => Assert.Equal(
        await ScalarAsync<string>("""
            select string_agg(concat_ws(' ', sku, status, units), ', ' order by sku, status)
            from (select sku, status, sum(quantity) as units from orders where sale_id = @saleId group by sku, status) o
            """, new { saleId }),
        await ScalarAsync<string>("""
            select string_agg(concat_ws(' ', f.sku, s.status, s.units), ', ' order by f.sku, s.status)
            from (select sku, sum(pending_payment) as pending, sum(paid) as paid, sum(cancelled) as cancelled, sum(expired) as expired, sum(rejected) as rejected, sum(refunded) as refunded
                  from item_figures where sale_id = @saleId group by sku) f,
                 lateral (values ('pending_payment', pending), ('paid', paid), ('cancelled', cancelled), ('expired', expired), ('rejected', rejected), ('refunded', refunded)) s (status, units)
            where s.units <> 0
            """, new { saleId }));
}
