using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>State that the shoppers of a run share: the sale, the way to it, and the record of every answer.</summary>
public sealed class LoadRun : IAsyncDisposable
{
    private const int MostKept = 1_000;
    private static readonly TimeSpan LongestBackOff = TimeSpan.FromSeconds(2);

    private readonly Lock _sync = new();
    private readonly List<Told> _kept = new(MostKept);
    private readonly Random _random = new(1);
    private long _accepted;
    private long _users;

    private LoadRun(Target target, LoadSale sale, History history, HttpWire wire)
    {
        Target = target;
        Sale = sale;
        History = history;
        Wire = wire;
        Tokens = new Tokens(target);
    }

    public Target Target { get; }

    public LoadSale Sale { get; }

    public History History { get; }

    public HttpWire Wire { get; }

    public Tokens Tokens { get; }

    /// <summary>
    /// Broken promises that shoppers saw with their own eyes and that no store remembers. They are complete when the
    /// load is over.
    /// </summary>
    public Findings Findings { get; } = new();

    /// <summary>How long a shopper waits for an answer, including the wait for a connection.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Prepares the way of shoppers to an open sale.</summary>
    /// <param name="target">The product under load.</param>
    /// <param name="sale">The sale. It stays the caller's.</param>
    /// <param name="historyPath">The file that keeps the answers.</param>
    /// <param name="connections">The most connections at once. Shoppers wait for one of them, as behind a load
    /// balancer.</param>
    /// <param name="patience">How long a shopper waits for an answer.</param>
    public static LoadRun Begin(Target target, LoadSale sale, string historyPath, int connections, TimeSpan patience) =>
        new(target, sale, History.Create(historyPath), new HttpWire(target.Api, connections)) { Patience = patience };

    /// <summary>Returns the id of a user that never existed before, not in another run either.</summary>
    public string NewUser() => $"{Sale.Id}-{Interlocked.Increment(ref _users)}";

    /// <summary>Records a broken promise that a shopper saw.</summary>
    public void Report(string promise, string what)
    {
        lock (_sync) Findings.Add(promise, what);
    }

    /// <summary>Sends one purchase and records its answer.</summary>
    public Task<Told> AskAsync(string userId, string key, string sku, CancellationToken cancel, int quantity = 1, string? token = null) =>
        AskAsync(PurchaseRequest.Of(Target.Api, Sale.OrdersPath, token ?? Tokens.For(userId), key, sku, quantity), userId, key, sku, quantity, cancel);

    /// <summary>Sends a purchase that is ready as bytes, and records its answer.</summary>
    public async Task<Told> AskAsync(ReadOnlyMemory<byte> request, string userId, string key, string sku, int quantity, CancellationToken cancel)
    {
        var started = RunClock.Microseconds;
        var answer = await Wire.SendAsync(request, Patience, cancel);
        var told = answer.Failure == WireFailure.NotSent
            ? Told.NotSent(started, RunClock.Microseconds, userId, key, sku, quantity)
            : Told.Of(started, RunClock.Microseconds, userId, key, sku, quantity, answer.Status, answer.Body.Span, !answer.Header("Idempotency-Replayed"u8).IsEmpty);
        History.Add(told);
        if (told is { IsAccepted: true, IsReplay: false }) Keep(told);
        return told;
    }

    /// <summary>
    /// Buys like a shopper that wants to know the outcome. After an unknown outcome, or when told to come later, the
    /// shopper comes again with the same key until the answer is definite or the shopper's patience is over. The first
    /// request is the step "buy", any other one "buy again".
    /// </summary>
    public async Task<Told> BuyAsync(IScenarioContext context, string userId, string key, string sku, int quantity = 1, ReadOnlyMemory<byte> request = default)
    {
        if (request.IsEmpty) request = PurchaseRequest.Of(Target.Api, Sale.OrdersPath, Tokens.For(userId), key, sku, quantity);
        var cancel = context.ScenarioCancellationToken;
        var began = RunClock.Microseconds;
        var told = default(Told);
        await Step.Run("buy", context, async () => Answers.Of(told = await AskAsync(request, userId, key, sku, quantity, cancel)));
        for (var pause = TimeSpan.FromMilliseconds(50); IsToComeAgain(told) && told.EndedMicroseconds - began < Patience.TotalMicroseconds && !cancel.IsCancellationRequested; pause *= 2)
        {
            await Task.Delay(pause < LongestBackOff ? pause : LongestBackOff, CancellationToken.None);
            await Step.Run("buy again", context, async () => Answers.Of(told = await AskAsync(request, userId, key, sku, quantity, cancel)));
        }
        return told;
    }

    /// <summary>
    /// Sends a sample of the accepted purchases again. Each must get its first answer, byte by byte, and the judge
    /// compares them.
    /// </summary>
    /// <returns>The number of purchases sent again, and the number of them that were not answered 202.</returns>
    public async Task<(int Sent, int NotAccepted)> ReplayAsync(CancellationToken cancel)
    {
        Told[] sample;
        lock (_sync) sample = [.. _kept];
        var notAccepted = 0;
        await Parallel.ForEachAsync(sample, new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = cancel }, async (first, _) =>
        {
            var began = RunClock.Microseconds;
            var told = await AskAsync(first.UserId, first.Key, first.Sku, cancel, first.Quantity);
            while (IsToComeAgain(told) && told.EndedMicroseconds - began < 20_000_000)
            {
                await Task.Delay(200, cancel);
                told = await AskAsync(first.UserId, first.Key, first.Sku, cancel, first.Quantity);
            }
            if (!told.IsAccepted) Interlocked.Increment(ref notAccepted);
        });
        return (sample.Length, notAccepted);
    }

    /// <summary>
    /// Returns one of the purchases accepted so far, from a sample. Null: no purchase was accepted yet.
    /// </summary>
    public Told? AnyAccepted(Random random)
    {
        lock (_sync) return _kept.Count == 0 ? null : _kept[random.Next(_kept.Count)];
    }

    public async ValueTask DisposeAsync()
    {
        await Wire.DisposeAsync();
        await History.DisposeAsync();
    }

    /// <summary>Returns whether the contract asks the shopper to come again with the same key.</summary>
    public static bool IsToComeAgain(in Told told) => told.IsUnknown || told.Code is Told.NothingSent or "overloaded" or "rate_limited" or "temporarily_unavailable";

    // Each acceptance is in the sample with the same probability, however many there are.
    private void Keep(in Told told)
    {
        lock (_sync)
        {
            _accepted++;
            if (_kept.Count < MostKept) _kept.Add(told);
            else if (_random.NextInt64(_accepted) is var place and < MostKept) _kept[(int)place] = told;
        }
    }
}
