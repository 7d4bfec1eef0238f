using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Targets;

/// <summary>How <see cref="Buyers"/> shop.</summary>
public sealed record BuyersOptions
{
    /// <summary>Shoppers at the same time: enough to keep every stage busy, and little enough that two cores still answer in time.</summary>
    public int Shoppers { get; init; } = 12;

    /// <summary>Between two purchases of a shopper, and before a retry.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromMilliseconds(8);

    /// <summary>How long a shopper waits for an answer.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a shopper comes again with a key whose outcome is unknown.</summary>
    public TimeSpan MostRetrying { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Nodes to buy at, in turn; the target's Api when empty.</summary>
    public IReadOnlyList<Uri> Apis { get; init; } = [];

    /// <summary>What the shoppers' names start with: another one for each group of buyers in a sale.</summary>
    public string Prefix { get; init; } = "buyer";
}

/// <summary>
/// Shoppers who buy one after another until told to stop, each purchase by a new user, of the sale's items in turn. A shopper who cannot know the outcome
/// comes again with the same key until it is settled, as the contract asks. One in 20 wants another of what they got, one in 25 cancels. Every answer to a purchase goes into
/// the history.
/// </summary>
public sealed class Buyers : IAsyncDisposable
{
    private const int OneInWantsMore = 20;
    private const int OneInCancels = 25;
    private const int OneInIsAskedAgain = 100;
    private const int MostAskedAgain = 200;

    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<(string UserId, string Key, string Sku)> _kept = new();
    private readonly Tokens _tokens;
    private readonly LoadSale _sale;
    private readonly History _history;
    private readonly BuyersOptions _options;
    private readonly HttpClient[] _nodes;
    private readonly Task _shopping;
    private long _next;
    private long _accepted;

    /// <summary>Begins to buy.</summary>
    public Buyers(Target target, LoadSale sale, History history, BuyersOptions? options = null)
    {
        _tokens = new Tokens(target);
        _sale = sale;
        _history = history;
        _options = options ?? new BuyersOptions();
        IReadOnlyList<Uri> apis = _options.Apis.Count > 0 ? _options.Apis : [target.Api];
        _nodes = [.. apis.Select(api => new HttpClient(new SocketsHttpHandler()) { BaseAddress = api, Timeout = _options.Patience })];
        _shopping = Task.WhenAll(Enumerable.Range(0, _options.Shoppers).Select(_ => Task.Run(ShopAsync)));
    }

    /// <summary>Purchases accepted so far.</summary>
    public long Accepted => Interlocked.Read(ref _accepted);

    /// <summary>Waits until that many more have been accepted.</summary>
    /// <exception cref="TimeoutException">They were not within the deadline.</exception>
    public async Task AcceptedMoreAsync(int more, TimeSpan deadline, CancellationToken cancel = default)
    {
        var goal = Accepted + more;
        var began = TimeProvider.System.GetTimestamp();
        while (Accepted < goal)
        {
            if (TimeProvider.System.GetElapsedTime(began) > deadline) throw new TimeoutException($"Not within {deadline.TotalSeconds:0.#} s: {more} more purchases accepted; {goal - Accepted} are missing.");
            await Task.Delay(20, cancel);
        }
    }

    /// <summary>Lets everyone finish what they began, retries included.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _shopping;
    }

    /// <summary>Sends a sample of the accepted purchases again, from the sale's whole course, until each is answered: the judge compares. Everyone must have stopped.</summary>
    public async Task ReplayAsync(CancellationToken cancel)
    {
        foreach (var (userId, key, sku) in _kept)
        {
            var began = TimeProvider.System.GetTimestamp();
            for (var told = default(Told); !told.IsAccepted && !told.IsDecision && TimeProvider.System.GetElapsedTime(began) < _options.Patience; await Task.Delay(_options.Pause, cancel))
            {
                told = await AskAsync(_nodes[0], _tokens.For(userId), userId, key, sku);
                _history.Add(told);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
        foreach (var node in _nodes) node.Dispose();
    }

    private async Task ShopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var number = Interlocked.Increment(ref _next);
            var (userId, sku, node) = ($"{_options.Prefix}-{number}", _sale.Items[(int)(number % _sale.Items.Count)].Sku, _nodes[number / _sale.Items.Count % _nodes.Length]);
            var told = await BuyAsync(userId, $"key-{number}", sku, node);
            if (told.IsAccepted)
            {
                if (number % OneInCancels == 0) await CancelAsync(node, userId, told.OrderId);
                if (number % OneInWantsMore == 0) await BuyAsync(userId, $"more-{number}", sku, node);
            }
            await Task.Delay(_options.Pause);
        }
    }

    // Until it is known what became of it. "Come again later" says so of one request, not of those before it.
    private async Task<Told> BuyAsync(string userId, string key, string sku, HttpClient node)
    {
        var token = _tokens.For(userId);
        var began = RunClock.Microseconds;
        for (var wasUnknown = false; ; await Task.Delay(_options.Pause))
        {
            var told = await AskAsync(node, token, userId, key, sku);
            _history.Add(told);
            if (told.IsAccepted && Interlocked.Increment(ref _accepted) % OneInIsAskedAgain == 0 && _kept.Count < MostAskedAgain) _kept.Enqueue((userId, key, sku));
            wasUnknown |= told.IsUnknown;
            if (told.IsSettled(wasUnknown) || told.EndedMicroseconds - began > _options.MostRetrying.TotalMicroseconds) return told;
        }
    }

    // Whatever comes of it: an order that is not stored yet cannot be cancelled, and a fault may be going on. The judge sees in the stores whether it was one or the other.
    private async Task CancelAsync(HttpClient node, string userId, Guid orderId)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/api/v1/orders/{orderId}/cancel");
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _tokens.For(userId));
        try
        {
            using var response = await node.SendAsync(request);
        }
        catch (Exception e) when (IsNoAnswer(e))
        {
            // Unknown, and nobody asks again.
        }
    }

    private async Task<Told> AskAsync(HttpClient node, string token, string userId, string key, string sku)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, _sale.OrdersPath);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes($$"""{"sku":"{{sku}}","quantity":1}""")) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
        var started = RunClock.Microseconds;
        try
        {
            using var response = await node.SendAsync(request);
            var body = await response.Content.ReadAsByteArrayAsync();
            return Told.Of(started, RunClock.Microseconds, userId, key, sku, 1, (int)response.StatusCode, body, response.Headers.Contains("Idempotency-Replayed"));
        }
        catch (Exception e) when (IsNoAnswer(e))
        {
            return Told.Of(started, RunClock.Microseconds, userId, key, sku, 1, 0, [], isReplay: false);
        }
    }

    // A connection that is reset while it is being made comes out of HttpClient as the socket's own exception.
    private static bool IsNoAnswer(Exception e) => e is HttpRequestException or TaskCanceledException or IOException or SocketException;
}
