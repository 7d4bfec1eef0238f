using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>An item of a sale to be created.</summary>
public sealed record ItemDraft(string Sku, int Stock, int PerUserLimit = 1, long Price = 199_900, string? Name = null);

/// <summary>A campaign manager at the Admin API, by default with the operator's token.</summary>
public sealed class Manager(Func<Uri> url, string token = Manager.OperatorToken) : IDisposable
{
    public const string OperatorToken = "operator-token-of-the-tests";
    public const string ManagerToken = "manager-token-of-the-tests";
    public const string ViewerToken = "viewer-token-of-the-tests";

    private readonly HttpClient _http = new(new SocketsHttpHandler()) { Timeout = TimeSpan.FromSeconds(60) };

    /// <summary>The token settings of the Admin host, which hold only hashes of the tokens.</summary>
    public static Dictionary<string, string> TokenSettings()
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal);
        (string Role, string Token)[] tokens = [("operator", OperatorToken), ("manager", ManagerToken), ("viewer", ViewerToken)];
        for (var i = 0; i < tokens.Length; i++)
        {
            settings[$"Admin__Tokens__{i}__Name"] = $"test-{tokens[i].Role}";
            settings[$"Admin__Tokens__{i}__Role"] = tokens[i].Role;
            settings[$"Admin__Tokens__{i}__Sha256"] = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(tokens[i].Token)));
        }
        return settings;
    }

    /// <summary>Sends any request. A body is sent as JSON.</summary>
    public Task<Answer> SendAsync(HttpMethod method, string path, object? body = null, string? idempotencyKey = null)
    {
        var content = body is null ? null : new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body)) { Headers = { ContentType = new("application/json") } };
        return SendAsync(method, path, content, idempotencyKey);
    }

    /// <summary>Sends any request with a body of any kind.</summary>
    public Task<Answer> SendAsync(HttpMethod method, string path, HttpContent? content, string? idempotencyKey = null) =>
        SendAsync(method, path, content, idempotencyKey is null ? [] : [("Idempotency-Key", idempotencyKey)]);

    /// <summary>Sends any request with further headers.</summary>
    public async Task<Answer> SendAsync(HttpMethod method, string path, HttpContent? content, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, new Uri(url(), path)) { Content = content };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        foreach (var (name, value) in headers) request.Headers.TryAddWithoutValidation(name, value);
        return await Answer.OfAsync(_http, request);
    }

    public Task<Answer> GetAsync(string path) => SendAsync(HttpMethod.Get, path);

    public Task<Answer> PostAsync(string path, object? body = null) => SendAsync(HttpMethod.Post, path, body);

    /// <summary>Creates a draft.</summary>
    /// <returns>The sale id.</returns>
    public async Task<string> CreateSaleAsync(IReadOnlyList<ItemDraft> items, TimeSpan? opensIn = null, TimeSpan? closesIn = null, int? perUserLimit = null, int payWithinSeconds = 900,
        bool requiresTicket = false, int? admissionPerSecond = null, bool loadRun = false)
    {
        var now = TimeProvider.System.GetUtcNow();
        var answer = Expect(201, await PostAsync("/api/v1/sales", new
        {
            name = "Sale of a test",
            opensAt = Time(now + (opensIn ?? TimeSpan.FromHours(1))),
            closesAt = Time(now + (closesIn ?? TimeSpan.FromHours(3))),
            perUserLimit,
            payWithinSeconds,
            requiresTicket,
            admissionPerSecond,
            loadRun,
            items = items.Select(item => new
            {
                sku = item.Sku,
                name = item.Name ?? $"Item {item.Sku}",
                price = new { amount = item.Price, currency = "CNY" },
                stock = item.Stock,
                perUserLimit = item.PerUserLimit,
            }),
        }));
        return answer.Member("saleId")!;
    }

    public async Task<Answer> PreloadAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/preload"));

    public async Task<Answer> OpenAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/open"));

    public async Task<Answer> PauseAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/pause"));

    public async Task<Answer> ResumeAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/resume"));

    public async Task<Answer> CloseAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/close"));

    public async Task<Answer> RebuildAsync(string saleId) => Expect(200, await PostAsync($"/api/v1/sales/{saleId}/rebuild"));

    /// <summary>Changes stock. Without a key, each call is a change of its own.</summary>
    public Task<Answer> ChangeStockAsync(string saleId, string sku, int delta, string? key = null) =>
        SendAsync(HttpMethod.Post, $"/api/v1/sales/{saleId}/items/{sku}/stock", new { delta, reason = "A test changes stock" }, key ?? Guid.NewGuid().ToString());

    public Task<Answer> RefundAsync(Guid orderId) => PostAsync($"/api/v1/orders/{orderId}/refund", new { reason = "A test refunds" });

    public async Task<JsonElement> LedgerAsync(string saleId) => Expect(200, await GetAsync($"/api/v1/sales/{saleId}/ledger")).Json;

    public async Task<JsonElement> StatsAsync(string saleId) => Expect(200, await GetAsync($"/api/v1/sales/{saleId}/stats")).Json;

    public void Dispose() => _http.Dispose();

    /// <summary>Returns the answer if it has the expected status, and throws otherwise.</summary>
    public static Answer Expect(int status, Answer answer) =>
        answer.Status == status ? answer : throw new InvalidOperationException($"Expected {status}, got {answer}");

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
}
