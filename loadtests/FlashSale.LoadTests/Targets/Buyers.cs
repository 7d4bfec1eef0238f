using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Targets;

/// <summary>Options of <see cref="Buyers"/>.</summary>
public sealed record BuyersOptions
{
    /// <summary>
    /// Number of shoppers at the same time. It keeps every stage busy, and it is low enough that two cores still answer
    /// in time.
    /// </summary>
    public int Shoppers { get; init; } = 12;

    /// <summary>Pause between two purchases of a shopper, and before a retry.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromMilliseconds(8);

    /// <summary>How long a shopper waits for an answer.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a shopper comes again with a key of unknown outcome.</summary>
    public TimeSpan MostRetrying { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Nodes to buy at, in turn. Empty: the target's Api.</summary>
    public IReadOnlyList<Uri> Apis { get; init; } = [];

    /// <summary>Beginning of the shoppers' names. Each group of buyers in a sale needs another one.</summary>
    public string Prefix { get; init; } = "buyer";
}

/// <summary>
/// Shoppers that buy one after another until told to stop, each purchase by a new user, of the sale's items in turn.
/// After an unknown outcome a shopper comes again with the same key until the outcome is settled, as the contract asks.
/// One in 20 wants the same item again, one in 25 cancels. Every answer to a purchase goes into the history.
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

    /// <summary>Starts the shoppers at once.</summary>
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

    /// <summary>Number of purchases accepted so far.</summary>
    public long Accepted => Interlocked.Read(ref _accepted);

    /// <summary>Waits until the given number of further purchases has been accepted.</summary>
    /// <exception cref="TimeoutException">They were not accepted within the deadline.</exception>
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

    /// <summary>Lets all shoppers finish the purchases that they began, retries included.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _shopping;
    }

    /// <summary>
    /// Sends a sample of the accepted purchases again, from the sale's whole course, until each is answered. The judge
    /// compares the answers. All shoppers must have stopped.
    /// </summary>
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

    // Asks until the outcome is known. The answer "come again later" tells the outcome of one request, not of those
    // before it.
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

    // Any answer will do here. An order that is not stored yet cannot be cancelled, and a fault may be going on. The
    // judge sees in the stores whether the order was cancelled.
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
            // The outcome is unknown, and no shopper asks again.
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

    // HttpClient throws the socket's own exception for a connection that is reset while it is being made.
    private static bool IsNoAnswer(Exception e) => e is HttpRequestException or TaskCanceledException or IOException or SocketException;
}
