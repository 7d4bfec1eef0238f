using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// Every entry, message and return comes a second time, when the orders have long moved on. Nothing changes.
/// </summary>
public sealed class SecondDeliveryTests(Lively fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Lively>
{
    [Fact]
    public async Task The_whole_outbox_and_every_message_replayed_after_a_sale_has_run_change_nothing()
    {
        var sale = await Stack.OpenSaleAsync(stock: 400);
        await using var tap = await MessageTap.OpenAsync(Stack.Broker);
        foreach (var worker in Stack.Workers) worker.Freeze();
        await Crowd.AllBuyAsync(Stack, sale, users: 400, atATime: 64);
        var outbox = (object?[])(await Stack.Redis.Client.CallAsync("XRANGE", sale.RedisPrefix + "outbox", "-", "+"))!;
        Assert.NotEmpty(outbox);
        foreach (var worker in Stack.Workers) worker.Thaw();
        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        var orders = sale.History.Accepted.Select(told => (told.UserId, told.Answer.OrderId)).ToArray();
        await Crowd.EachAsync(orders[..100], 8, async order => Assert.Equal("paid", await PayAsync(order.OrderId)));
        await Crowd.EachAsync(orders[100..200], 8, async order => Assert.Equal(200, (await Stack.Shopper(order.UserId).CancelAsync(order.OrderId)).Status));
        await Crowd.EachAsync(orders[50..100], 8, async order => Assert.Equal(200, (await Stack.Manager.RefundAsync(order.OrderId)).Status));
        foreach (var (_, orderId) in orders[200..300]) await DueInAsync(sale, 0, orderId);
        await Crowd.EachAsync(orders[200..300], 8, order => StatusAsync(order.OrderId, "expired"));
        var before = await Books.CheckAsync(Stack, sale);

        var messages = (await tap.MessagesAsync()).ToArray();
        Assert.NotEmpty(messages);
        foreach (var message in messages) await tap.PublishAgainAsync(message);
        foreach (var entry in outbox) await Stack.Redis.Client.CallAsync("XADD", sale.RedisPrefix + "outbox", "*", "r", ((object?[])((object?[])entry!)[1]!)[1]!);
        // Every return comes once more as well. Redis knows the returns that it has applied.
        await ExecuteAsync("update stock_return set state = 'pending' where sale_id = @Id", new { sale.Id });

        await Books.RestAsync(Stack, sale, TimeSpan.FromSeconds(30));
        await Eventually.TrueAsync("the consumers have taken every message", TimeSpan.FromSeconds(30), async () =>
        {
            var waiting = await Stack.Broker.MessagesAsync();
            return (await Stack.Broker.QueuesAsync()).Where(queue => !queue.StartsWith("amq.", StringComparison.Ordinal)).All(queue => waiting[queue] == 0);
        });
        var after = await Books.CheckAsync(Stack, sale);
        Assert.Equal(before.Orders.OrderBy(order => order.OrderId), after.Orders.OrderBy(order => order.OrderId));
        Assert.Equal(before.Remaining, after.Remaining);
        Assert.Equal(before.Quotas.OrderBy(quota => quota.UserId), after.Quotas.OrderBy(quota => quota.UserId));
        await Crowd.ReplayAsync(Stack, sale, node: 1);
    }
}
