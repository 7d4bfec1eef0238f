using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Orders;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// An order makes only the moves that it may, its units then go to others, and of two moves at the same instant one
/// happens.
/// </summary>
public sealed class OrderMoveTests(Lively fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Lively>
{
    [Fact]
    public async Task Sql_allows_exactly_the_moves_that_the_state_machine_allows()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        var number = await ScalarAsync<int>("select number from sale where sale_id = @Id", new { sale.Id });
        foreach (var status in Enum.GetValues<OrderStatus>().Where(status => status is not (OrderStatus.Accepted or OrderStatus.Rejected)))
        {
            foreach (var move in Enum.GetValues<OrderMove>())
            {
                var orderId = await BuyStoredAsync(sale, $"{status}-{move}");
                await BringToAsync(orderId, sale, number, status);
                await MoveAsync(orderId, sale, number, move);
                var expected = OrderLife.Allows(status, move) ? OrderLife.To(move) : status;
                Assert.True(expected.Text() == await ScalarAsync<string>("select status from orders where order_id = @orderId", new { orderId }), $"{status} {move}: expected {expected}");
            }
        }
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_cancelled_unit_is_for_sale_on_every_node_within_a_second()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1);
        var orderId = await BuyStoredAsync(sale, "first");
        for (var node = 0; node < 2; node++)
            Refusal.AssertIs(409, "sold_out", await Stack.Shopper($"late-{node}", node).BuyAsync(sale));
        var cancelled = await Stack.Shopper("first").CancelAsync(orderId);
        Assert.Equal((200, "cancelled"), (cancelled.Status, cancelled.Member("status")));
        var took = await Eventually.TrueAsync("somebody else buys the unit", TimeSpan.FromSeconds(5), async () => (await Stack.Shopper("second", 1).BuyAsync(sale)).Status == 202);
        Assert.True(took < TimeSpan.FromSeconds(1), $"It took {took}.");
        // A retry of the shopper that cancelled still gets its first answer, and the order stays cancelled.
        var first = sale.History.Accepted.Single(told => told.UserId == "first");
        var again = await Stack.Shopper("first", 1).BuyAsync(sale, first.Key);
        Assert.True(again.Status == 202 && again.IsReplay && again.Body.AsSpan().SequenceEqual(first.Answer.Body), again.ToString());
        Assert.Equal("cancelled", (await Stack.Shopper("first").OrderAsync(orderId)).Member("status"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Cancelling_gives_the_users_count_back_as_often_as_it_is_allowed()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var shopper = Stack.Shopper("hoarder");
        for (var round = 0; round < 2; round++)
        {
            var orderId = await BuyStoredAsync(sale, "hoarder");
            Assert.Equal(200, (await shopper.CancelAsync(orderId)).Status);
            // A repeat after a lost answer is told the same.
            Assert.Equal((200, "cancelled"), ((await shopper.CancelAsync(orderId)) is var again ? again.Status : 0, again.Member("status")));
            await Eventually.TrueAsync("the unit is back", TimeSpan.FromSeconds(5), async () => await Stack.Redis.Client.NumberAsync("HGET", sale.RedisPrefix + "stock", sale.Sku) == 10);
        }
        var third = await BuyStoredAsync(sale, "hoarder");
        Refusal.AssertIs(409, "order_not_cancellable", await shopper.CancelAsync(third));
        Assert.Equal("pending_payment", (await shopper.OrderAsync(third)).Member("status"));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task What_cannot_be_cancelled_is_said_and_stays()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var orderId = await BuyStoredAsync(sale, "buyer");
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("stranger").CancelAsync(orderId));
        Refusal.AssertIs(404, "order_not_found", await Stack.Shopper("buyer").CancelAsync(Guid.NewGuid()));
        Refusal.AssertIs(401, "unauthenticated", await Stack.Shopper("buyer", token: "").CancelAsync(orderId));
        Assert.Equal("paid", await PayAsync(orderId));
        Refusal.AssertIs(409, "order_not_cancellable", await Stack.Shopper("buyer").CancelAsync(orderId));
        // The order is in flight. It can be cancelled once it is stored.
        await Stack.FreezeWorkersAsync();
        try
        {
            var accepted = await Stack.Shopper("early").BuyAsync(sale);
            var refused = await Stack.Shopper("early").CancelAsync(accepted.OrderId);
            Refusal.AssertIs(409, "order_not_cancellable", refused);
            Assert.Equal("1", refused.Header("retry-after"));
        }
        finally
        {
            foreach (var worker in Stack.Workers) worker.Thaw();
        }
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_refund_by_an_operator_returns_the_unit_once_and_is_audited()
    {
        var sale = await Stack.OpenSaleAsync(stock: 5);
        var orderId = await BuyStoredAsync(sale, "buyer");
        Refusal.AssertIs(409, "order_not_refundable", await Stack.Manager.RefundAsync(orderId));
        await PayAsync(orderId);
        using var viewer = new Manager(() => Stack.Admin.Url, Manager.ManagerToken);
        Assert.Equal(403, (await viewer.RefundAsync(orderId)).Status);
        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Stack.Manager.RefundAsync(orderId)));
        Assert.All(answers, answer => Assert.Equal((200, "refunded"), (answer.Status, answer.Member("status"))));
        Refusal.AssertIs(404, "order_not_found", await Stack.Manager.RefundAsync(Guid.NewGuid()));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(5, view.Remaining[sale.Sku]);
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from audit_log where action = 'order.refund' and subject = @orderId::text", new { orderId }));
        Assert.Equal(1, await ScalarAsync<long>("select count(*) from refund where order_id = @orderId", new { orderId }));
    }

    [Fact]
    public async Task An_order_that_is_not_paid_in_time_expires_after_the_grace_and_not_before()
    {
        var sale = await Stack.OpenSaleAsync(stock: 2, payWithinSeconds: 1);
        var orderId = await BuyStoredAsync(sale, "slow");
        await StatusAsync(orderId, "expired");
        Assert.True(await ScalarAsync<bool>("select closed_at >= pay_by + interval '5 s' and closed_at < pay_by + interval '8 s' from orders where order_id = @orderId", new { orderId }));
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(2, view.Remaining[sale.Sku]);
        Assert.Equal("expired", (await Stack.Shopper("slow").OrderAsync(orderId)).Member("status"));
    }

    [Fact]
    public async Task Of_ten_thousand_orders_that_are_paid_and_expire_at_the_same_instant_each_does_one_of_the_two()
    {
        const int Orders = 10_000;
        var sale = await Stack.OpenSaleAsync(stock: Orders);
        await Crowd.AllBuyAsync(Stack, sale, Orders, atATime: 64);
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(60));
        await DueInAsync(sale, 500);
        var told = new System.Collections.Concurrent.ConcurrentDictionary<Guid, string>();
        var ids = sale.History.Accepted.Select(accepted => accepted.Answer.OrderId).ToArray();
        new Random(1).Shuffle(ids);
        await Crowd.EachAsync(ids, 10, async orderId => told[orderId] = await PayAsync(orderId));
        await NonePendingAsync(sale);
        var view = await Books.CheckAsync(Stack, sale);
        Tell($"{view.Orders.Count(order => order.Status == "paid")} were paid, {view.Orders.Count(order => order.Status == "expired")} expired.");
        Assert.All(view.Orders, order => Assert.Equal(order.Status == "paid" ? "paid" : "refunded", told[order.OrderId]));
        // Shoppers that paid too late get their money back.
        Assert.All(view.Orders, order => Assert.Equal(order.Status == "expired" ? 1 : 0, order.Refunds));
        // Without both outcomes the test would show nothing.
        Assert.Contains(view.Orders, order => order.Status == "paid");
        Assert.Contains(view.Orders, order => order.Status == "expired");
        Assert.Equal(Orders - view.Orders.Count(order => order.Status == "paid"), view.Remaining[sale.Sku]);
    }

    [Fact]
    public async Task Cancellations_of_a_sale_that_is_being_loaded_are_asked_to_come_again_and_keep_nobody_from_postgres()
    {
        var (loaded, other) = (await Stack.OpenSaleAsync(stock: 100), await Stack.OpenSaleAsync(stock: 10));
        var orders = await Task.WhenAll(Enumerable.Range(0, 40).Select(i => BuyStoredAsync(loaded, $"user-{i}")));
        var another = await BuyStoredAsync(other, "another");
        await using (var loader = await Stack.Database.Source.OpenConnectionAsync())
        {
            await loader.ExecuteAsync("select pg_advisory_lock(1, number) from sale where sale_id = @Id", new { loaded.Id });
            try
            {
                // The breaker would open after fewer refusals than these, if they counted as failures of Postgres.
                for (var round = 0; round < 2; round++)
                {
                    var answers = await Task.WhenAll(orders.Select((orderId, i) => Stack.Shopper($"user-{i}").CancelAsync(orderId)));
                    Assert.All(answers, answer => Assert.NotNull(Refusal.AssertIs(503, "temporarily_unavailable", answer).Header("retry-after")));
                }
                Assert.Equal(200, (await Stack.Shopper("another").CancelAsync(another)).Status);
                Assert.Equal(200, (await Stack.Shopper("user-0").MyOrdersAsync()).Status);
            }
            finally
            {
                await loader.ExecuteAsync("select pg_advisory_unlock_all()");
            }
        }
        Assert.Equal(200, (await Stack.Shopper("user-0").CancelAsync(orders[0])).Status);
        await Books.CheckAsync(Stack, loaded);
    }

    [Fact]
    public async Task Of_a_hundred_cancellations_of_one_order_at_once_one_returns_the_unit()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        var orderId = await BuyStoredAsync(sale, "nervous");
        var answers = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Stack.Shopper("nervous", i % 2).CancelAsync(orderId)));
        // On a slow machine some requests wait for a place longer than a node allows. They are told that nothing was
        // done.
        Assert.All(answers, answer => Assert.True(answer.Status == 200 || answer is { Status: 503, Code: "temporarily_unavailable" }, $"{answer}"));
        Assert.Contains(answers, answer => answer.Status == 200);
        Assert.Equal(200, (await Stack.Shopper("nervous").CancelAsync(orderId)).Status);
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(100, view.Remaining[sale.Sku]);
    }

    private async Task BringToAsync(Guid orderId, Sale sale, int number, OrderStatus status)
    {
        if (status is OrderStatus.Paid or OrderStatus.Refunded) await MoveAsync(orderId, sale, number, OrderMove.Pay);
        if (status is OrderStatus.Refunded) await MoveAsync(orderId, sale, number, OrderMove.Refund);
        if (status is OrderStatus.Cancelled) await MoveAsync(orderId, sale, number, OrderMove.Cancel);
        if (status is OrderStatus.Expired) await MoveAsync(orderId, sale, number, OrderMove.Expire);
    }

    private async Task MoveAsync(Guid orderId, Sale sale, int number, OrderMove move)
    {
        switch (move)
        {
            case OrderMove.Pay:
                await PayAsync(orderId, $"pay-{Guid.NewGuid()}");
                break;
            case OrderMove.Cancel:
                await ScalarAsync<string>("select cancel_order(@Id, @number, @orderId, 'somebody', 1000)", new { sale.Id, number, orderId });
                break;
            case OrderMove.Expire:
                await ExecuteAsync("select close_orders(@Id, @number, array[@orderId], 'pending_payment', 'expired', null, now() + interval '1 day')", new { sale.Id, number, orderId });
                break;
            case OrderMove.Refund:
                await ScalarAsync<bool>("select refund_order(@Id, @number, @orderId, 'test')", new { sale.Id, number, orderId });
                break;
        }
    }
}
