using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>An answer to a request, down to its bytes.</summary>
/// <param name="Status">The HTTP status, or 0 when no answer came.</param>
/// <param name="Headers">Values by lower-case name. Several values are joined by a comma.</param>
/// <param name="Body">The bytes as sent.</param>
/// <param name="Took">The time from sending the request to the last byte of the answer.</param>
public sealed record Answer(int Status, IReadOnlyDictionary<string, string> Headers, byte[] Body, TimeSpan Took)
{
    public string Text => Encoding.UTF8.GetString(Body);

    public JsonElement Json => JsonDocument.Parse(Body).RootElement;

    /// <summary>The code of a problem, or null for another answer.</summary>
    public string? Code => Header("content-type") == "application/problem+json" && Json.TryGetProperty("code", out var code) ? code.GetString() : null;

    /// <summary>The order id of a 202.</summary>
    public Guid OrderId => Status == 202 ? Json.GetProperty("orderId").GetGuid() : throw new InvalidOperationException($"Expected 202, got {this}");

    public bool IsReplay => Header("idempotency-replayed") == "true";

    public string? Header(string name) => Headers.GetValueOrDefault(name);

    public override string ToString() => $"{Status} {Text}";

    public string? Member(string name) => Json.GetProperty(name).ToString();

    /// <summary>Sends a request. When no answer comes, the status is 0 and the body says why.</summary>
    public static async Task<Answer> OfAsync(HttpClient http, HttpRequestMessage request, CancellationToken cancellation = default)
    {
        var clock = Stopwatch.StartNew();
        try
        {
            using var response = await http.SendAsync(request, cancellation);
            var body = await response.Content.ReadAsByteArrayAsync(cancellation);
            return new Answer((int)response.StatusCode, Flatten(response), body, clock.Elapsed);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            return new Answer(0, new Dictionary<string, string>(), Encoding.UTF8.GetBytes(e.Message), clock.Elapsed);
        }
    }

    private static Dictionary<string, string> Flatten(HttpResponseMessage response)
    {
        var headers = new Dictionary<string, string>(StringComparer.Ordinal);
        // The headers without validation are the ones that were sent, not the client's reading of them.
        foreach (var set in (HttpHeadersNonValidated[])[response.Headers.NonValidated, response.Content.Headers.NonValidated])
        {
            foreach (var (name, values) in set) headers[name.ToLowerInvariant()] = values.ToString();
        }
        return headers;
    }
}
