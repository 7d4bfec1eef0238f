using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;

namespace FlashSale.LoadTests.Targets;

/// <summary>Calls the Admin API as a campaign manager does.</summary>
public sealed class Manager : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly HttpClient _http;

    public Manager(Target target)
    {
        // Preloading 10,000 items, or comparing a million orders, takes its time.
        _http = new HttpClient { BaseAddress = target.Admin, Timeout = TimeSpan.FromMinutes(2) };
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", target.AdminToken);
    }

    public Task<JsonElement> GetAsync(string path, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, cancel);

    public Task<JsonElement> PostAsync(string path, object? body, CancellationToken cancel) => SendAsync(HttpMethod.Post, path, () => body is null ? null : JsonContent.Create(body), cancel);

    public Task<JsonElement> PostCsvAsync(string path, string csv, CancellationToken cancel) =>
        SendAsync(HttpMethod.Post, path, () => new StringContent(csv, new MediaTypeHeaderValue("text/csv", "utf-8")), cancel);

    public void Dispose() => _http.Dispose();

    // A 503 means not now, and nothing was changed. It comes when a store has just been started again, so the call is
    // repeated.
    private async Task<JsonElement> SendAsync(HttpMethod method, string path, Func<HttpContent?>? content, CancellationToken cancel)
    {
        for (var began = TimeProvider.System.GetTimestamp(); ; await Task.Delay(Pause, cancel))
        {
            using var request = new HttpRequestMessage(method, path) { Content = content?.Invoke() };
            using var response = await _http.SendAsync(request, cancel);
            var text = await response.Content.ReadAsStringAsync(cancel);
            if (response.IsSuccessStatusCode) return JsonDocument.Parse(text).RootElement;
            if ((int)response.StatusCode != 503 || TimeProvider.System.GetElapsedTime(began) > Patience)
                throw new InvalidOperationException($"{method} {path} at {_http.BaseAddress} was answered {(int)response.StatusCode}: {text}");
        }
    }
}
