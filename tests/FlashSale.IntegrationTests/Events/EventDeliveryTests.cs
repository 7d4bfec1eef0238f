using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using RabbitMQ.Client;

namespace FlashSale.IntegrationTests.Events;

/// <summary>
/// Two workers that publish in small batches, so that a test can interrupt them between many batches.
/// </summary>
public sealed class SmallBatches() : StackFixture(new StackOptions
{
    Workers = 2, Settings = { ["Relay__RepublishAfterSeconds"] = "1", ["Events__BatchSize"] = "10", ["Events__Window"] = "2", ["Events__LeaseMilliseconds"] = "3000" },
});

/// <summary>
/// Order events reach every bound queue. No event is missing and first copies are in order, even if publishers die or
/// freeze.
/// </summary>
public sealed class EventDeliveryTests(SmallBatches fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<SmallBatches>
{
    [Fact]
    public async Task Each_move_is_told_once_in_order_with_all_that_the_contract_says()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await sale.SellAsync(40);
        await sale.MoveAsync();
        var told = await sale.CheckAsync(tap);
        // No worker died, so no event was repeated.
        Assert.Equal(sale.Expected.Sum(order => order.Value.Length), told.Count);
        Assert.All(told, message =>
        {
            Assert.Equal(("application/json", true), (message.ContentType, message.IsPersistent));
            Assert.Equal($"{message.OrderId}:{message.Type}", message.MessageId);
            Assert.Equal((message.MessageId, message.Type), (Text(message, "eventId"), Text(message, "type")));
            Assert.Equal((sale.Id, "phone-1", 1), (Text(message, "saleId"), Text(message, "sku"), message.Body.GetProperty("quantity").GetInt32()));
            Assert.Equal("""{"amount":199900,"currency":"CNY"}""", message.Body.GetProperty("amount").GetRawText());
            Assert.StartsWith("user-", Text(message, "userId"));
            Assert.Matches(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", Text(message, "at"));
            var (key, own) = message.Type switch
            {
                "OrderPlaced" => ("order.placed", "acceptedAt payBy placedAt"),
                "OrderPaid" => ("order.paid", "paidAt"),
                _ => ("order.closed", "reason status"),
            };
            Assert.Equal(key, message.RoutingKey);
            string[] common = ["eventId", "type", "orderId", "saleId", "sku", "userId", "quantity", "amount", "at"];
            Assert.Equal(own, string.Join(' ', message.Body.EnumerateObject().Select(member => member.Name).Except(common).Order(StringComparer.Ordinal)));
        });
        var closings = told.Where(message => message.Type == "OrderClosed").CountBy(message => $"{Text(message, "status")} {Text(message, "reason")}");
        Assert.Equal(["cancelled cancelled_by_shopper: 10", "refunded goodwill: 10"], closings.Select(c => $"{c.Key}: {c.Value}").Order(StringComparer.Ordinal));
        await CountedAsync(told.Count);
    }

    [Fact]
    public async Task Workers_killed_again_and_again_while_publishing_lose_nothing_and_swap_nothing()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        await using (await PublisherSession.TakeAsync(Stack.Database))
        {
            await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
            await sale.SellAsync(400);
            await sale.MoveAsync();
            // The test holds the publisher's role, so no worker publishes.
            Assert.Equal(0, await tap.WaitingAsync());
            await Task.WhenAll(Stack.Workers.Select(worker => worker.KillAsync()));
        }
        var moments = new Random(1);
        var interrupted = 0;
        for (var kill = 0; kill < 6; kill++)
        {
            var worker = Stack.Workers[kill % 2];
            await worker.LaunchAsync();
            if (await sale.UnpublishedAsync() == 0) break;
            await tap.MoreAsync(moments.Next(1, 100));
            await worker.KillAsync();
            if (await sale.UnpublishedAsync() > 0) interrupted++;
        }
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
        var told = await sale.CheckAsync(tap);
        Tell($"{interrupted} kills while publishing, {told.Count} messages for {sale.Expected.Sum(order => order.Value.Length)} events");
        Assert.True(interrupted >= 2, $"only {interrupted} kills hit a publisher at work");
    }

    [Fact]
    public async Task A_publisher_that_is_frozen_or_whose_session_ends_is_replaced_and_does_no_harm_when_it_wakes()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await sale.SellAsync(300);
        await sale.PublishedAsync();
        var moves = sale.MoveAsync(pause: TimeSpan.FromMilliseconds(60));
        HashSet<int?> holders = [await PublisherSession.HolderAsync(Stack.Database)];
        foreach (var worker in Stack.Workers)
        {
            worker.Freeze();
            // One of the two workers was the publisher.
            await tap.MoreAsync(30);
            holders.Add(await PublisherSession.HolderAsync(Stack.Database));
            worker.Thaw();
            await tap.MoreAsync(10);
            await PublisherSession.EndAsync(Stack.Database);
            await tap.MoreAsync(10);
        }
        await moves;
        var told = await sale.CheckAsync(tap);
        Tell($"{holders.Count} sessions published {told.Count} messages for {sale.Expected.Sum(order => order.Value.Length)} events");
        Assert.True(holders.Count >= 2, "no publisher was replaced");
    }

    [Fact]
    public async Task Rows_are_marked_only_when_every_message_of_theirs_was_confirmed()
    {
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await using var connection = await Stack.Broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        // This queue holds one message and makes the broker refuse the others. They reach the tap all the same.
        var full = await channel.QueueDeclareAsync("full", durable: false, exclusive: false, autoDelete: false,
            new Dictionary<string, object?> { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" });
        await channel.QueueBindAsync(full.QueueName, EventTap.Exchange, "order.#");
        await sale.SellAsync(20);
        var rows = await sale.CountAsync("select count(*) from order_event where sale_id = @Id");
        // Wait for several attempts. The broker refuses a part of each.
        await tap.MoreAsync(10);
        Assert.InRange(await sale.UnpublishedAsync(), 1, rows);
        var marked = await sale.CountAsync("select coalesce(sum(cardinality(order_ids)), 0) from order_event where sale_id = @Id and published_at is not null");
        Assert.InRange(marked, 0, 1);
        await channel.QueueDeleteAsync(full.QueueName);
        await sale.CheckAsync(tap);
    }

    [Fact]
    public async Task Rows_are_kept_for_some_days_after_they_were_published()
    {
        var sale = await EventSale.OpenAsync(Stack);
        await sale.SellAsync(20);
        await sale.PublishedAsync();
        await using (var connection = await Stack.Database.Source.OpenConnectionAsync())
        {
            await connection.ExecuteAsync("""
                update order_event set published_at = now() - interval '7 days 1 minute';
                insert into order_event (sale_id, type, order_ids, published_at) select @Id, 'placed', array[]::uuid[], now() - interval '6 days 23 hours'
                """, new { sale.Id });
        }
        // A publisher deletes old rows when it starts.
        foreach (var worker in Stack.Workers) await worker.RestartAsync();
        await Eventually.TrueAsync("old rows are gone", TimeSpan.FromSeconds(20), async () => await sale.CountAsync("select count(*) from order_event") == 1);
        Assert.Equal(1, await sale.CountAsync("select count(*) from order_event where published_at < now() - interval '6 days'"));
    }

    // Only one of the two workers publishes, and its counter may include events of earlier tests.
    private async Task CountedAsync(int events)
    {
        using var http = new HttpClient();
        var pages = await Task.WhenAll(Stack.Workers.Select(worker => http.GetStringAsync(new Uri(worker.ManagementUrl, "/metrics"))));
        var counted = pages.SelectMany(page => page.Split('\n')).Where(line => line.StartsWith("flashsale_order_events_published_total ", StringComparison.Ordinal))
            .Sum(line => double.Parse(line.Split(' ')[1]));
        Assert.True(counted >= events, $"{counted} of {events} events were counted");
        Assert.All(pages, page => Assert.Contains("\nflashsale_order_events_oldest_unpublished_seconds ", page, StringComparison.Ordinal));
    }

    private static string? Text(ToldEvent message, string member) => message.Body.GetProperty(member).GetString();
}
