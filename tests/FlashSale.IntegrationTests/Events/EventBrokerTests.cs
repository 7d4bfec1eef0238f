using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Events;

/// <summary>Two workers with a broker of their own. After a second without a confirm they count it as silent.</summary>
public sealed class OwnBroker() : StackFixture(new StackOptions
{
    Workers = 2, OwnRabbitMq = true,
    Settings = { ["Relay__RepublishAfterSeconds"] = "2", ["Events__ConfirmMilliseconds"] = "1000", ["Events__BatchSize"] = "50" },
});

/// <summary>Order events wait for a broker that is away or accepts nothing.</summary>
public sealed class EventBrokerTests(OwnBroker fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OwnBroker>
{
    [Fact]
    public async Task A_broker_killed_and_started_while_orders_move_is_told_all_of_it()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await sale.SellAsync(300);
        var moves = sale.MoveAsync(pause: TimeSpan.FromMilliseconds(30));
        for (var kill = 0; kill < 2; kill++)
        {
            await tap.MoreAsync(30);
            await Stack.RabbitMq!.KillAsync();
            await Eventually.TrueAsync("events wait", TimeSpan.FromSeconds(20), async () => await sale.UnpublishedAsync() > 0 || moves.IsCompleted);
            await Stack.RabbitMq.StartAsync();
        }
        await moves;
        var told = await sale.CheckAsync(tap);
        Tell($"{told.Count} messages for {sale.Expected.Sum(order => order.Value.Length)} events");
    }

    [Fact]
    public async Task A_broker_with_an_alarm_is_waited_for_and_gets_no_copies()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await sale.SellAsync(100);
        await sale.PublishedAsync();
        await Stack.RabbitMq!.CtlAsync(["set_vm_memory_high_watermark", "0.00001"]);
        try
        {
            await sale.MoveAsync();
            var waiting = await sale.UnpublishedAsync();
            Assert.True(waiting > 0);
            // Wait several times as long as a confirm may take.
            await Task.Delay(TimeSpan.FromSeconds(5));
            Assert.Equal(waiting, await sale.UnpublishedAsync());
        }
        finally
        {
            await Stack.RabbitMq.CtlAsync(["set_vm_memory_high_watermark", "0.4"]);
        }
        var told = await sale.CheckAsync(tap);
        Assert.Equal(sale.Expected.Sum(order => order.Value.Length), told.Count);
    }
}
