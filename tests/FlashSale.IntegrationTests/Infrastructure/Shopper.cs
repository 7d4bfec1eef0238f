using System.Net.Http.Headers;
using System.Text;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A shopper at one Api node.</summary>
public sealed class Shopper(HttpClient http, Func<Uri> url, string userId, string? token = null)
{
    private static readonly UriCreationOptions AsWritten = new() { DangerousDisablePathAndQueryCanonicalization = true };

    private readonly string _token = token ?? Tokens.For(userId);

    public string UserId => userId;

    /// <summary>Buys, and remembers the answer in the sale's history.</summary>
    /// <param name="sale">Where.</param>
    /// <param name="key">The idempotency key; a new one when null.</param>
    /// <param name="sku">The sale's first item when null.</param>
    /// <param name="quantity">Units.</param>
    /// <param name="ticket">Sent with it, as it is.</param>
    public async Task<Answer> BuyAsync(Sale sale, string? key = null, string? sku = null, int quantity = 1, string? ticket = null)
    {
        key ??= Guid.NewGuid().ToString();
        sku ??= sale.Sku;
        var answer = await PurchaseAsync(sale.Id, $$"""{"sku":"{{sku}}","quantity":{{quantity}}}""", key, headers: ticket is null ? [] : [("Purchase-Ticket", ticket)]);
        sale.History.Add(new Attempt(userId, key, sku, quantity, answer));
        return answer;
    }

    /// <summary>A purchase of any shape.</summary>
    public Task<Answer> PurchaseAsync(string saleId, string body, string? key, string contentType = "application/json", params (string Name, string Value)[] headers) =>
        SendAsync(HttpMethod.Post, $"/api/v1/sales/{saleId}/orders", Encoding.UTF8.GetBytes(body), key, contentType, headers);

    /// <summary>Asks for admission; without a body when it is null.</summary>
    public Task<Answer> AdmitAsync(string saleId, string? body = null, string? contentType = "application/json") =>
        SendAsync(HttpMethod.Post, $"/api/v1/sales/{saleId}/admission", body is null ? null : Encoding.UTF8.GetBytes(body), contentType: contentType);

    /// <summary>A ticket, which must be given.</summary>
    public async Task<string> TicketAsync(Sale sale)
    {
        var answer = await AdmitAsync(sale.Id);
        return answer.Status == 200 ? answer.Member("ticket")! : throw new InvalidOperationException($"Expected a ticket, got {answer}");
    }

    public Task<Answer> OrderAsync(Guid orderId) => GetAsync($"/api/v1/orders/{orderId}");

    public Task<Answer> CancelAsync(Guid orderId) => SendAsync(HttpMethod.Post, $"/api/v1/orders/{orderId}/cancel");

    public Task<Answer> MyOrdersAsync(string query = "") => GetAsync($"/api/v1/orders{query}");

    public Task<Answer> GetAsync(string path, params (string Name, string Value)[] headers) => SendAsync(HttpMethod.Get, path, headers: headers);

    /// <summary>Any request. The path goes out as written.</summary>
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
