using System.Net.Http.Headers;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A server-sent event as it was sent.</summary>
public sealed record SentEvent(string Name, string? Id, string Data)
{
    /// <summary>The order status in the data of the event.</summary>
    public string Status => System.Text.Json.JsonDocument.Parse(Data).RootElement.GetProperty("status").GetString()!;
}

/// <summary>A client of server-sent events that never reconnects by itself.</summary>
public sealed class EventClient : IDisposable
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(30) };
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly StreamReader _reader;

    private EventClient(HttpResponseMessage response, Stream body) => (Response, _reader) = (response, new StreamReader(body));

    public HttpResponseMessage Response { get; }

    public int Status => (int)Response.StatusCode;

    /// <summary>The last retry time that the server sent, in milliseconds.</summary>
    public int? Retry { get; private set; }

    /// <summary>Opens the stream of an order.</summary>
    public static Task<EventClient> OpenAsync(HostProcess api, string userId, Guid orderId, string? lastEventId = null) =>
        OpenAsync(new Uri(api.Url, $"/api/v1/orders/{orderId}/events"), userId, lastEventId);

    /// <summary>Opens a stream at an address.</summary>
    public static async Task<EventClient> OpenAsync(Uri address, string userId, string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", Tokens.For(userId));
        if (lastEventId is not null) request.Headers.Add("Last-Event-ID", lastEventId);
        var response = await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        return new EventClient(response, await response.Content.ReadAsStreamAsync());
    }

    /// <summary>The next event, or null when the stream has ended in order. A stream that is cut off throws.</summary>
    public async Task<SentEvent?> NextAsync(TimeSpan? longest = null)
    {
        using var deadline = new CancellationTokenSource(longest ?? Patience);
        var (name, id, data) = ("", (string?)null, (string?)null);
        while (await _reader.ReadLineAsync(deadline.Token) is { } line)
        {
            if (line.Length == 0 && data is not null) return new SentEvent(name, id, data);
            var parts = line.Split(": ", 2);
            if (parts[0] == "event") name = parts[1];
            else if (parts[0] == "id") id = parts[1];
            else if (parts[0] == "data") data = parts[1];
            else if (parts[0] == "retry") Retry = int.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture);
        }
        return null;
    }

    /// <summary>Reads all events until the stream ends.</summary>
    public async Task<List<SentEvent>> RestAsync()
    {
        var events = new List<SentEvent>();
        while (await NextAsync() is { } next) events.Add(next);
        return events;
    }

    /// <summary>The whole answer of a request that got no stream.</summary>
    public async Task<Answer> AnswerAsync()
    {
        var headers = Response.Headers.Concat(Response.Content.Headers).ToDictionary(header => header.Key.ToLowerInvariant(), header => string.Join(", ", header.Value), StringComparer.Ordinal);
        return new Answer(Status, headers, System.Text.Encoding.UTF8.GetBytes(await _reader.ReadToEndAsync()), TimeSpan.Zero);
    }

    /// <summary>Closes the connection unless the stream has ended.</summary>
    public void Dispose()
    {
        _reader.Dispose();
        Response.Dispose();
    }
}
