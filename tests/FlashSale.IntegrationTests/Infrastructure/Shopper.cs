using System.Net.Http.Headers;
using System.Text;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A shopper at one Api node.</summary>
public sealed class Shopper(HttpClient http, Func<Uri> url, string userId, string? token = null)
{
    private static readonly UriCreationOptions AsWritten = new() { DangerousDisablePathAndQueryCanonicalization = true };

    private readonly string _token = token ?? Tokens.For(userId);

    public string UserId => userId;

    /// <summary>Buys, and records the answer in the sale's history.</summary>
    /// <param name="sale">The sale.</param>
    /// <param name="key">The idempotency key, or null for a new one.</param>
    /// <param name="sku">The sku, or null for the sale's first item.</param>
    /// <param name="quantity">Units.</param>
    /// <param name="ticket">A ticket that is sent unchanged, or null to send no ticket.</param>
    public async Task<Answer> BuyAsync(Sale sale, string? key = null, string? sku = null, int quantity = 1, string? ticket = null)
    {
        key ??= Guid.NewGuid().ToString();
        sku ??= sale.Sku;
        var answer = await PurchaseAsync(sale.Id, $$"""{"sku":"{{sku}}","quantity":{{quantity}}}""", key, headers: ticket is null ? [] : [("Purchase-Ticket", ticket)]);
        sale.History.Add(new Attempt(userId, key, sku, quantity, answer));
        return answer;
    }

    /// <summary>Sends a purchase with any body.</summary>
    public Task<Answer> PurchaseAsync(string saleId, string body, string? key, string contentType = "application/json", params (string Name, string Value)[] headers) =>
        SendAsync(HttpMethod.Post, $"/api/v1/sales/{saleId}/orders", Encoding.UTF8.GetBytes(body), key, contentType, headers);

    /// <summary>Asks for admission. A null body sends no body.</summary>
    public Task<Answer> AdmitAsync(string saleId, string? body = null, string? contentType = "application/json") =>
        SendAsync(HttpMethod.Post, $"/api/v1/sales/{saleId}/admission", body is null ? null : Encoding.UTF8.GetBytes(body), contentType: contentType);

    /// <summary>Gets a ticket, and throws if the node gives no ticket.</summary>
    public async Task<string> TicketAsync(Sale sale)
    {
        var answer = await AdmitAsync(sale.Id);
        return answer.Status == 200 ? answer.Member("ticket")! : throw new InvalidOperationException($"Expected a ticket, got {answer}");
    }

    public Task<Answer> OrderAsync(Guid orderId) => GetAsync($"/api/v1/orders/{orderId}");

    public Task<Answer> CancelAsync(Guid orderId) => SendAsync(HttpMethod.Post, $"/api/v1/orders/{orderId}/cancel");

    public Task<Answer> MyOrdersAsync(string query = "") => GetAsync($"/api/v1/orders{query}");

    public Task<Answer> GetAsync(string path, params (string Name, string Value)[] headers) => SendAsync(HttpMethod.Get, path, headers: headers);

    /// <summary>Sends any request. The path goes out as written.</summary>
    public async Task<Answer> SendAsync(HttpMethod method, string path, byte[]? body = null, string? key = null, string? contentType = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, new Uri(url().ToString().TrimEnd('/') + path, AsWritten));
        if (_token.Length > 0) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _token);
        if (key is not null) request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        foreach (var (name, value) in headers) request.Headers.TryAddWithoutValidation(name, value);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body);
            if (contentType is not null) request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }
        return await Answer.OfAsync(http, request);
    }
}
