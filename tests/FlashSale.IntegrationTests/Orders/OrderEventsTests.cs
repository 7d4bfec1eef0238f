using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.IntegrationTests.Protection;

namespace FlashSale.IntegrationTests.Orders;

/// <summary>The stream of an order sends its present status, and each change as it happens.</summary>
[Collection<OnOneOfEach>]
public sealed class OrderEventsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Open = "flashsale_order_streams";
    private const int PerUser = 8;

    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task A_stream_tells_accepted_at_once_and_pending_payment_when_the_order_is_stored()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        Stack.Worker.Freeze();
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        using var stream = await EventClient.OpenAsync(Stack.Api, "buyer", bought.OrderId);
        Assert.Equal(200, stream.Status);
        Assert.Equal("text/event-stream", stream.Response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("no-store, no-transform", stream.Response.Headers.CacheControl?.ToString());
        Assert.Equal(["no"], stream.Response.Headers.GetValues("X-Accel-Buffering"));
        Assert.Equal("accepted", (await stream.NextAsync())?.Status);
        Stack.Worker.Thaw();
        Assert.Equal("pending_payment", (await stream.NextAsync())?.Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Every_event_has_an_id_and_a_client_that_has_the_final_one_is_sent_away_for_good()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = await BuyAsync(sale, "buyer");
        using (var stream = await EventClient.OpenAsync(Stack.Api, "buyer", order))
        {
            Assert.Equal(("status", "pending_payment"), await stream.NextAsync() is { } now ? (now.Name, now.Id) : default);
            Assert.InRange(stream.Retry ?? 0, 1_000, 10_000);
            Assert.Equal(200, (await Stack.Shopper("buyer").CancelAsync(order)).Status);
            var last = Assert.Single(await stream.RestAsync());
            Assert.Equal(("cancelled", "cancelled"), (last.Id, last.Status));
        }
        using (var unaware = await EventClient.OpenAsync(Stack.Api, "buyer", order, lastEventId: "pending_payment"))
            Assert.Equal("cancelled", Assert.Single(await unaware.RestAsync()).Id);
        using (var aware = await EventClient.OpenAsync(Stack.Api, "buyer", order, lastEventId: "cancelled"))
            Assert.Equal((204, ""), (aware.Status, (await aware.AnswerAsync()).Text));
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Clients_that_leave_their_streams_are_forgotten_without_a_line_in_the_log()
    {
        const int Clients = 25;
        var sale = await Stack.OpenSaleAsync(stock: 100);
        var streams = new List<EventClient>();
        for (var i = 0; i < Clients; i++)
        {
            streams.Add(await EventClient.OpenAsync(Stack.Api, $"leaver-{i}", await BuyAsync(sale, $"leaver-{i}")));
            Assert.NotNull(await streams[^1].NextAsync());
        }
        Assert.Equal(Clients, await Figures.ShownAsync(Stack.Api, Open));
        Stack.Api.Mark();
        foreach (var stream in streams) stream.Dispose();
        await AllGoneAsync();
        Assert.Equal("", Stack.Api.OutputSinceMark);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_user_has_eight_streams_and_others_have_theirs()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var (greedy, modest) = (await BuyAsync(sale, "greedy"), await BuyAsync(sale, "modest"));
        var streams = new List<EventClient>();
        for (var i = 0; i < PerUser; i++)
        {
            streams.Add(await EventClient.OpenAsync(Stack.Api, "greedy", greedy));
            Assert.NotNull(await streams[^1].NextAsync());
        }
        using (var another = await EventClient.OpenAsync(Stack.Api, "greedy", greedy))
            Assert.Contains("8 event streams", Refusal.AssertIs(429, "rate_limited", await another.AnswerAsync()).Member("detail"), StringComparison.Ordinal);
        using (var other = await EventClient.OpenAsync(Stack.Api, "modest", modest)) Assert.NotNull(await other.NextAsync());
        streams[0].Dispose();
        await Eventually.TrueAsync("the place is free again", Soon, async () =>
        {
            using var again = await EventClient.OpenAsync(Stack.Api, "greedy", greedy);
            return again.Status == 200;
        });
        foreach (var stream in streams) stream.Dispose();
        await AllGoneAsync();
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task An_open_stream_outlives_degradation_and_a_new_one_is_asked_to_come_back()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = await BuyAsync(sale, "patient");
        using var stream = await EventClient.OpenAsync(Stack.Api, "patient", order);
        Assert.Equal("pending_payment", (await stream.NextAsync())?.Status);
        await Stack.SwitchAsync(1);
        try
        {
            // An error would end an EventSource for good. An ended stream makes it come back after the retry time.
            using (var another = await EventClient.OpenAsync(Stack.Api, "patient", order))
            {
                Assert.Equal((200, "text/event-stream"), (another.Status, another.Response.Content.Headers.ContentType?.MediaType));
                Assert.Empty(await another.RestAsync());
                Assert.InRange(another.Retry ?? 0, 20_000, 40_000);
            }
            Assert.Equal(200, (await Stack.Shopper("patient").CancelAsync(order)).Status);
            Assert.Equal("cancelled", Assert.Single(await stream.RestAsync()).Status);
        }
        finally
        {
            await Stack.SwitchAsync(0);
        }
        using var back = await EventClient.OpenAsync(Stack.Api, "patient", order);
        Assert.Equal("cancelled", Assert.Single(await back.RestAsync()).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task A_change_that_was_not_announced_is_told_all_the_same()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = await BuyAsync(sale, "buyer");
        using var stream = await EventClient.OpenAsync(Stack.Api, "buyer", order);
        Assert.Equal("pending_payment", (await stream.NextAsync())?.Status);
        await Stack.FreezeWorkersAsync();
        try
        {
            // The change is in Postgres alone, since the worker would announce it when it returns the units.
            Assert.Equal(200, (await Stack.Shopper("buyer").CancelAsync(order)).Status);
            Assert.Equal("cancelled", await NextAsync(stream, TimeSpan.FromSeconds(90)));
        }
        finally
        {
            Stack.Worker.Thaw();
        }
        await Books.CheckAsync(Stack, sale);
    }

    private static async Task<string?> NextAsync(EventClient stream, TimeSpan deadline) => (await stream.NextAsync(deadline))?.Status;

    private async Task<Guid> BuyAsync(Sale sale, string user)
    {
        var bought = await Stack.Shopper(user).BuyAsync(sale);
        Assert.Equal(202, bought.Status);
        await Eventually.GetAsync("it is stored", Soon, () => Stack.Shopper(user).OrderAsync(bought.OrderId), order => order.Member("status") == "pending_payment");
        return bought.OrderId;
    }

    private async Task AllGoneAsync() =>
        await Eventually.TrueAsync("no stream is open", Soon, async () => await Figures.ShownAsync(Stack.Api, Open) == 0);
}
