using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// The payment provider of a test: the sandbox over HTTP, and webhooks that the test signs itself, so that independent
/// code judges the product's verifier.
/// </summary>
/// <param name="sandbox">The address of the sandbox.</param>
/// <param name="api">The address of the Api with the webhook.</param>
public sealed class Provider(Func<Uri> sandbox, Func<Uri> api) : IDisposable
{
    public const string ApiKey = "api-key-of-the-tests";
    public const string WebhookSecret = "whsec_dGhlLXNlY3JldC1vZi10aGUtdGVzdHMtd2ViaG9va3M=";

    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(30) };

    /// <summary>
    /// Makes a payment for an order as the product does, but with a new idempotency key. So an order gets a second
    /// payment.
    /// </summary>
    /// <returns>The payment id.</returns>
    public async Task<string> CreateAsync(Guid orderId, long amount, string currency = "CNY") => Manager.Expect(201, await SendAsync(
        HttpMethod.Post, new Uri(sandbox(), "/v1/payments"),
        new { orderId, amount = new { amount, currency }, payBy = TimeProvider.System.GetUtcNow().AddHours(1) }, Guid.NewGuid().ToString())).Member("paymentId")!;

    /// <summary>The status of a payment: open, paid, refunding or refunded.</summary>
    public async Task<string> StatusAsync(string paymentId) => Manager.Expect(200, await SendAsync(HttpMethod.Get, new Uri(sandbox(), $"/v1/payments/{paymentId}"))).Member("status")!;

    /// <summary>Pays as a shopper does with the button on the payment page.</summary>
    public async Task PayAsync(string paymentIdOrUrl) => Manager.Expect(200, await SendAsync(
        HttpMethod.Post, paymentIdOrUrl.StartsWith("http", StringComparison.Ordinal) ? new Uri(paymentIdOrUrl) : new Uri(sandbox(), $"/pay/{paymentIdOrUrl}")));

    /// <summary>Sets the behaviour of the sandbox. Each behaviour that is not named is as on a good day.</summary>
    public async Task BehaveAsync(int delayMs = 0, int duplicates = 0, bool shuffle = false, string outcome = "succeed", bool autoPay = false, bool refuse = false) =>
        Manager.Expect(200, await SendAsync(HttpMethod.Put, new Uri(sandbox(), "/sandbox/behaviour"), new { delayMs, duplicates, shuffle, outcome, autoPay, refuse }));

    /// <summary>The body of a notice of an event that happened just now, or the given time ago.</summary>
    public static string Notice(string type, Guid orderId, string paymentId, long amount, string currency = "CNY", TimeSpan ago = default) =>
        JsonSerializer.Serialize(new { type, timestamp = TimeProvider.System.GetUtcNow() - ago, data = new { orderId, paymentId, amount = new { amount, currency } } });

    /// <param name="body">The body.</param>
    /// <param name="id">The webhook's id, or null for a new one.</param>
    /// <param name="signedAgo">The age of the signature.</param>
    /// <param name="secret">The secret that signs it.</param>
    /// <param name="signature">The signature header to send instead. An empty string sends no header.</param>
    public async Task<Answer> NotifyAsync(string body, string? id = null, TimeSpan signedAgo = default, string secret = WebhookSecret, string? signature = null,
        string contentType = "application/json")
    {
        id ??= $"msg_{Guid.NewGuid():N}";
        var timestamp = (TimeProvider.System.GetUtcNow() - signedAgo).ToUnixTimeSeconds();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(api(), "/api/v1/payments/webhook")) { Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body)) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(contentType);
        request.Headers.TryAddWithoutValidation("webhook-id", id);
        request.Headers.TryAddWithoutValidation("webhook-timestamp", $"{timestamp}");
        signature ??= Sign(id, timestamp, body, secret);
        if (signature.Length > 0) request.Headers.TryAddWithoutValidation("webhook-signature", signature);
        return await Answer.OfAsync(_http, request);
    }

    /// <summary>Signs a notice without the product's code.</summary>
    public static string Sign(string id, long timestamp, string body, string secret = WebhookSecret) =>
        "v1," + Convert.ToBase64String(HMACSHA256.HashData(Convert.FromBase64String(secret["whsec_".Length..]), Encoding.UTF8.GetBytes($"{id}.{timestamp}.{body}")));

    public void Dispose() => _http.Dispose();

    private async Task<Answer> SendAsync(HttpMethod method, Uri url, object? body = null, string? key = null)
    {
        using var request = new HttpRequestMessage(method, url);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", ApiKey);
        if (key is not null) request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        if (body is not null) request.Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body)) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        return await Answer.OfAsync(_http, request);
    }
}
