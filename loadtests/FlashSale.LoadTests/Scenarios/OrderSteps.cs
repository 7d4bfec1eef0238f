using System.Net.Http.Headers;
using System.Text.Json;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// The steps of a shopper with an order: looks at it again and again or reads its event stream, pays, cancels.
/// </summary>
public sealed class OrderSteps(LoadRun run, IScenarioContext context, string userId, Guid orderId)
{
    private static readonly TimeSpan MostWaiting = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    // Event streams stay open for long, and pages of a payment provider are on another host. So they do not use the
    // connections of the run.
    private static readonly HttpClient Http = new(new SocketsHttpHandler { MaxConnectionsPerServer = 10_000 }) { Timeout = Timeout.InfiniteTimeSpan };

    private readonly string _token = run.Tokens.For(userId);

    /// <summary>Looks at the order again and again until it is stored.</summary>
    public Task<bool> PlacedAsync() => SeenAsync("order placed", status => status != "accepted");

    /// <summary>Looks at the order again and again until it is paid.</summary>
    public Task<bool> PaidAsync() => SeenAsync("order paid", status => status == "paid");

    /// <summary>Cancels the order, and tries again when that fails.</summary>
    public Task<bool> CancelAsync() => UntilAsync("cancel", async () =>
        await SendAsync("POST", $"/api/v1/orders/{orderId}/cancel") is { Status: 200 } answer && StatusOf(answer.Body) == "cancelled");

    /// <summary>Pays the provider: asks the Api for the payment page, and confirms the payment there.</summary>
    public Task<bool> PayAsync() => UntilAsync("pay", async () =>
    {
        var answer = await SendAsync("POST", $"/api/v1/orders/{orderId}/payment");
        if (answer.Status != 200) return false;
        using var document = JsonDocument.Parse(answer.Body);
        using var deadline = new CancellationTokenSource(run.Patience);
        using var paid = await Http.PostAsync(new Uri(document.RootElement.GetProperty("paymentUrl").GetString()!), null, deadline.Token);
        return paid.IsSuccessStatusCode;
    });

    /// <summary>
    /// Reads the order's event stream until it tells one of these statuses. A stream that ends or breaks is opened
    /// again.
    /// </summary>
    public Task<bool> ToldAsync(string step, params string[] statuses) => UntilAsync(step, async () =>
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(run.Target.Api, $"/api/v1/orders/{orderId}/events"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _token);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(context.ScenarioCancellationToken);
        deadline.CancelAfter(MostWaiting);
        using var response = await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, deadline.Token);
        if (!response.IsSuccessStatusCode) return false;
        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync(deadline.Token));
        while (await lines.ReadLineAsync(deadline.Token) is { } line)
        {
            if (line.StartsWith("data: ", StringComparison.Ordinal) && statuses.Contains(StatusOf(System.Text.Encoding.UTF8.GetBytes(line["data: ".Length..])))) return true;
        }
        return false;
    });

    private Task<bool> SeenAsync(string step, Func<string?, bool> isIt) => UntilAsync(step, async () =>
        await SendAsync("GET", $"/api/v1/orders/{orderId}") is { Status: 200 } answer && isIt(StatusOf(answer.Body)));

    private async Task<bool> UntilAsync(string step, Func<Task<bool>> look)
    {
        var response = await Step.Run(step, context, async () =>
        {
            for (var began = TimeProvider.System.GetTimestamp(); ; await Task.Delay(Interval, context.ScenarioCancellationToken))
            {
                try
                {
                    if (await look()) return Response.Ok();
                }
                catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException && !context.ScenarioCancellationToken.IsCancellationRequested)
                {
                    // The next look opens the page again, as a browser would.
                }
                if (TimeProvider.System.GetElapsedTime(began) > MostWaiting) return Response.Fail("not in time");
            }
        });
        return !response.IsError;
    }

    private ValueTask<WireAnswer> SendAsync(string method, string path) =>
        run.Wire.SendAsync(PurchaseRequest.Plain(run.Target.Api, method, path, _token), run.Patience, context.ScenarioCancellationToken);

    private static string? StatusOf(ReadOnlyMemory<byte> body)
    {
        using var document = JsonDocument.Parse(body);
        return document.RootElement.GetProperty("status").GetString();
    }
}
