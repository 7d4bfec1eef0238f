using System.Net.Http.Headers;
using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Orders;

/// <summary>An order's stream: its status now, and each change as it happens.</summary>
public sealed class OrderEventsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    [Fact]
    public async Task A_stream_tells_accepted_at_once_and_pending_payment_when_the_order_is_stored()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        Stack.Worker.Freeze();
        var bought = await Stack.Shopper("buyer").BuyAsync(sale);
        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(Stack.Api.Url, $"/api/v1/orders/{bought.OrderId}/events"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Tokens.For("buyer"));
        using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(200, (int)response.StatusCode);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Equal("accepted", await NextStatusAsync(reader));
        Stack.Worker.Thaw();
        Assert.Equal("pending_payment", await NextStatusAsync(reader));
        await Books.CheckAsync(Stack, sale);
    }

    // The status of the next `status` event; comments between them keep the connection alive.
    private static async Task<string?> NextStatusAsync(StreamReader reader)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var name = "";
        while (await reader.ReadLineAsync(deadline.Token) is { } line)
        {
            if (line.StartsWith("event:", StringComparison.Ordinal)) name = line[6..].Trim();
            if (line.StartsWith("data:", StringComparison.Ordinal) && name == "status") return JsonDocument.Parse(line[5..]).RootElement.GetProperty("status").GetString();
        }
        throw new InvalidOperationException("The stream has ended.");
    }
}
