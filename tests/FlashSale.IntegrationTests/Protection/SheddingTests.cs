using System.Net.Sockets;
using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Protection;

/// <summary>A node that takes on a hundred purchases at once, at any latency.</summary>
public sealed class NarrowNode() : StackFixture(new StackOptions
{
    Settings = new(StringComparer.Ordinal)
    {
        ["Shedding__MinConcurrency"] = "100", ["Shedding__BurstConcurrency"] = "100", ["Shedding__MaxConcurrency"] = "100", ["Shedding__HoldMilliseconds"] = "100",
        ["Purchase__DeadlineMilliseconds"] = "10000",
    },
});

/// <summary>
/// A node under more load than it can take on refuses requests in a fixed order, and the load leaves nothing behind.
/// </summary>
public sealed class SheddingTests(NarrowNode fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<NarrowNode>
{
    private const int Limit = 100;

    [Fact]
    public async Task What_is_too_much_is_refused_before_anybody_looks_at_it_and_the_rest_is_sold()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        using var http = NewClient();
        // While Redis is frozen, every admitted purchase keeps its place.
        Stack.Redis.Freeze();
        List<Task<Answer>> waiting;
        try
        {
            waiting = [.. Enumerable.Range(0, Limit * 9 / 10).Select(i => Buyer(http, $"in-{i}").BuyAsync(sale))];
            await InFlightAsync(Limit * 9 / 10);
            // Pages and polls are refused first. Purchases still get in.
            Refusal.AssertIs(503, "overloaded", await Buyer(http, "reader").GetAsync($"/api/v1/sales/{sale.Id}"));
            Refusal.AssertIs(503, "overloaded", await Buyer(http, "reader").MyOrdersAsync());
            waiting.AddRange(Enumerable.Range(Limit * 9 / 10, Limit / 10).Select(i => Buyer(http, $"in-{i}").BuyAsync(sale)));
            await InFlightAsync(Limit);
            // Now purchases do not get in either, with any token and any body.
            foreach (var buyer in (Shopper[])[Buyer(http, "late"), new Shopper(http, () => Stack.Api.Url, "nobody", "no token")])
                Refusal.AssertIs(503, "overloaded", await buyer.PurchaseAsync(sale.Id, "no body either", key: null));
            var crowd = await Task.WhenAll(Enumerable.Range(0, 400).Select(i => Buyer(http, $"out-{i}").BuyAsync(sale)));
            Assert.All(crowd, answer => Refusal.AssertIs(503, "overloaded", answer));
            // Nor do requests for admission get in.
            Refusal.AssertIs(503, "overloaded", await Buyer(http, "late").AdmitAsync(sale.Id));
            // Refusals wait a moment, so that refused shoppers do not come again at once.
            Assert.All(crowd, answer => Assert.InRange(answer.Took, TimeSpan.FromMilliseconds(90), TimeSpan.FromSeconds(20)));
            Assert.Equal(Limit, await FigureAsync("flashsale_purchases_in_flight"));
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        var inside = await Task.WhenAll(waiting);
        Tell(sale.History.Summary);
        Assert.DoesNotContain(inside, answer => answer.Code == "overloaded");
        await InFlightAsync(0);
        // The node is itself again. It refuses nobody, and shoppers without a known outcome learn it now.
        await Stack.SellsOnEveryNodeAsync(sale);
        await Crowd.EachAsync(sale.History.Attempts.ToList(), 16, async attempt => Assert.Equal(202, (await Stack.Shopper(attempt.UserId).BuyAsync(sale, attempt.Key)).Status));
        Assert.Equal(200, (await Stack.Shopper("reader").GetAsync($"/api/v1/sales/{sale.Id}")).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Shoppers_who_hang_up_leave_no_place_taken()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        for (var round = 0; round < 3; round++)
        {
            Stack.Redis.Freeze();
            try
            {
                using var http = NewClient();
                var going = Enumerable.Range(0, Limit).Select(i => Buyer(http, $"gone-{round}-{i}").BuyAsync(sale)).ToList();
                await InFlightAsync(Limit);
                http.CancelPendingRequests();
                await Task.WhenAll(going);
            }
            finally
            {
                Stack.Redis.Thaw();
            }
            await InFlightAsync(0);
        }
        await Stack.SellsOnEveryNodeAsync(sale);
        Assert.Equal(202, (await Stack.Shopper("stays").BuyAsync(sale)).Status);
        await Books.CheckAsync(Stack, sale);
    }

    [Fact]
    public async Task Shoppers_who_send_slowly_take_no_place_from_others()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000);
        var slow = new List<TcpClient>();
        try
        {
            for (var i = 0; i < Limit * 3; i++)
            {
                var client = new TcpClient();
                slow.Add(client);
                await client.ConnectAsync("127.0.0.1", Stack.Api.Port);
                // The client sends all but the last byte of the body.
                await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
                    $"POST {sale.OrdersPath} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {Tokens.For($"slow-{i}")}\r\nIdempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{{\"sku\":\"phone-1\",\"quantity\":1"));
            }
            for (var i = 0; i < 20; i++) Assert.Equal(202, (await Stack.Shopper($"quick-{i}").BuyAsync(sale)).Status);
            Assert.Equal(0, await FigureAsync("flashsale_purchases_in_flight"));
        }
        finally
        {
            foreach (var client in slow) client.Dispose();
        }
        await Books.CheckAsync(Stack, sale);
    }

    private static HttpClient NewClient() => new(new SocketsHttpHandler { MaxConnectionsPerServer = 1_000 }) { Timeout = TimeSpan.FromSeconds(60) };

    private Shopper Buyer(HttpClient http, string userId) => new(http, () => Stack.Api.Url, userId);

    private Task<TimeSpan> InFlightAsync(int count) =>
        Eventually.TrueAsync($"{count} purchases are under way", TimeSpan.FromSeconds(20), async () => await FigureAsync("flashsale_purchases_in_flight") == count);

    private Task<double> FigureAsync(string name) => Figures.ShownAsync(Stack.Api, name);
}
