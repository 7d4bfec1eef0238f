using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using FlashSale.Orders;

namespace FlashSale.PaymentSandbox;

/// <summary>
/// Sends notices as a provider does. A notice keeps its id, and each attempt is signed anew. Attempts go on with
/// growing waits until the merchant answers 2xx, but for no longer than a day.
/// </summary>
public sealed partial class NoticeSender(
    SandboxOptions options, StandardWebhook webhooks, HttpClient http, TimeProvider time, IHostApplicationLifetime lifetime, ILogger<NoticeSender> logger)
{
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Patience = TimeSpan.FromDays(1);
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    private readonly Uri _url = new(options.WebhookUrl);

    /// <summary>Sends a notice in the background, unless the behaviour is to send no notices.</summary>
    public void Send(string type, Payment payment, Behaviour behaviour)
    {
        if (behaviour.Outcome == "never") return;
        var id = $"msg_{RandomNumberGenerator.GetHexString(24, lowercase: true)}";
        var body = JsonSerializer.SerializeToUtf8Bytes(
            new Notice(type, time.GetUtcNow(), new NoticeData(payment.OrderId, payment.PaymentId, payment.Amount)), SandboxJson.Default.Notice);
        _ = DeliverAsync(id, type, body, behaviour, lifetime.ApplicationStopping);
    }

    private async Task DeliverAsync(string id, string type, byte[] body, Behaviour behaviour, CancellationToken cancellation)
    {
        try
        {
            for (var sent = 0; sent <= behaviour.Duplicates; sent++)
            {
                await Task.Delay(behaviour.NextDelay(), cancellation);
                if (!await DeliverUntilTakenAsync(id, type, body, cancellation)) return;
            }
        }
        catch (OperationCanceledException)
        {
            // The sandbox ends, and forgets its notices.
        }
    }

    private async Task<bool> DeliverUntilTakenAsync(string id, string type, byte[] body, CancellationToken cancellation)
    {
        var began = time.GetTimestamp();
        for (var wait = TimeSpan.FromMilliseconds(options.RetryMilliseconds); ; wait = wait * 2 < LongestRetry ? wait * 2 : LongestRetry)
        {
            var answer = await AttemptAsync(id, body, cancellation);
            if (answer is >= 200 and < 300) return true;
            LogRefused(type, id, answer, wait.TotalSeconds);
            if (time.GetElapsedTime(began) > Patience) return false;
            await Task.Delay(wait, cancellation);
        }
    }

    // Returns the status of the answer, or 0 when there was no answer.
    private async Task<int> AttemptAsync(string id, byte[] body, CancellationToken cancellation)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(Timeout);
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        using var request = new HttpRequestMessage(HttpMethod.Post, _url) { Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } } };
        request.Headers.Add(StandardWebhook.IdHeader, id);
        request.Headers.Add(StandardWebhook.TimestampHeader, now.ToString());
        request.Headers.TryAddWithoutValidation(StandardWebhook.SignatureHeader, webhooks.Sign(id, now, body));
        try
        {
            using var response = await http.SendAsync(request, deadline.Token);
            return (int)response.StatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException && !cancellation.IsCancellationRequested)
        {
            return 0;
        }
    }

    [LoggerMessage(1, LogLevel.Information, "Notice {Type} {Id} was answered {Status}; next in {Seconds:0.#} s")]
    private partial void LogRefused(string type, string id, int status, double seconds);
}
