using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// The payment provider as a test has it at hand: the sandbox over HTTP, and webhooks signed by hand, so that the product's
/// verifier is judged by another hand's work.
/// </summary>
/// <param name="sandbox">Where the sandbox is.</param>
/// <param name="api">Whose webhook it calls.</param>
public sealed class Provider(Func<Uri> sandbox, Func<Uri> api) : IDisposable
{
    public const string ApiKey = "api-key-of-the-tests";
    public const string WebhookSecret = "whsec_dGhlLXNlY3JldC1vZi10aGUtdGVzdHMtd2ViaG9va3M=";

    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(30) };

    /// <summary>Makes a payment, as the product does for an order, but with a key of its own: so an order gets a second one.</summary>
    /// <returns>Its id.</returns>
    public async Task<string> CreateAsync(Guid orderId, long amount, string currency = "CNY") => Manager.Expect(201, await SendAsync(
        HttpMethod.Post, new Uri(sandbox(), "/v1/payments"),
        new { orderId, amount = new { amount, currency }, payBy = TimeProvider.System.GetUtcNow().AddHours(1) }, Guid.NewGuid().ToString())).Member("paymentId")!;

    /// <summary>open, paid, refunding or refunded.</summary>
    public async Task<string> StatusAsync(string paymentId) => Manager.Expect(200, await SendAsync(HttpMethod.Get, new Uri(sandbox(), $"/v1/payments/{paymentId}"))).Member("status")!;

    /// <summary>The shopper presses the button on the page.</summary>
    public async Task PayAsync(string paymentIdOrUrl) => Manager.Expect(200, await SendAsync(
        HttpMethod.Post, paymentIdOrUrl.StartsWith("http", StringComparison.Ordinal) ? new Uri(paymentIdOrUrl) : new Uri(sandbox(), $"/pay/{paymentIdOrUrl}")));

    /// <summary>Sets how the sandbox behaves; everything that is not named as on a good day.</summary>
    public async Task BehaveAsync(int delayMs = 0, int duplicates = 0, bool shuffle = false, string outcome = "succeed", bool autoPay = false, bool refuse = false) =>
        Manager.Expect(200, await SendAsync(HttpMethod.Put, new Uri(sandbox(), "/sandbox/behaviour"), new { delayMs, duplicates, shuffle, outcome, autoPay, refuse }));

    /// <summary>The body of a notice of something that happened just now, or so long ago.</summary>
    public static string Notice(string type, Guid orderId, string paymentId, long amount, string currency = "CNY", TimeSpan ago = default) =>
        JsonSerializer.Serialize(new { type, timestamp = TimeProvider.System.GetUtcNow() - ago, data = new { orderId, paymentId, amount = new { amount, currency } } });

    /// <summary>Calls the webhook.</summary>
    /// <param name="body">The body.</param>
    /// <param name="id">The webhook's id; a new one when null.</param>
    /// <param name="signedAgo">How old the signature is.</param>
    /// <param name="secret">What it is signed with.</param>
    /// <param name="signature">The header as given instead; empty: none.</param>
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

    /// <summary>A signature, made by hand.</summary>
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
