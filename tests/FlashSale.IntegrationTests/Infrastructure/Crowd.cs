namespace FlashSale.IntegrationTests.Infrastructure;

public static class Crowd
{
    /// <summary>Lets different users buy once each, spread over the nodes.</summary>
    /// <returns>The number of accepted purchases.</returns>
    public static async Task<int> BuyAsync(Stack stack, Sale sale, int users, string prefix = "user", int atATime = 32, int quantity = 1)
    {
        var accepted = 0;
        await EachAsync(Enumerable.Range(0, users), atATime, async i =>
        {
            var answer = await stack.Shopper($"{prefix}-{i}", i % stack.Apis.Count).BuyAsync(sale, quantity: quantity);
            if (answer.Status == 202) Interlocked.Increment(ref accepted);
        });
        return accepted;
    }

    /// <summary>Lets different users buy once each. All of them must be accepted.</summary>
    public static async Task AllBuyAsync(Stack stack, Sale sale, int users, string prefix = "user", int atATime = 32)
    {
        var accepted = await BuyAsync(stack, sale, users, prefix, atATime);
        Assert.True(accepted == users, $"{accepted} of {users} were accepted. All answers in this sale: {sale.History.Summary}");
    }

    /// <summary>
    /// Sends every accepted purchase to a node again with its key. Each must get its first answer, byte by byte.
    /// </summary>
    public static async Task ReplayAsync(Stack stack, Sale sale, int node = 0)
    {
        List<string> wrong = [];
        await EachAsync(sale.History.Accepted, 32, async told =>
        {
            var again = await stack.Shopper(told.UserId, node).BuyAsync(sale, told.Key, told.Sku, told.Quantity);
            if (again.Status == 202 && again.IsReplay && again.Body.AsSpan().SequenceEqual(told.Answer.Body)) return;
            lock (wrong) wrong.Add($"{told.UserId} was told {told.Answer}, and now {again}");
        });
        Assert.True(wrong.Count == 0, $"{wrong.Count} replays differ on node {node}:\n{string.Join('\n', wrong.Take(5))}");
    }

    public static Task EachAsync<T>(IEnumerable<T> work, int atATime, Func<T, Task> action) =>
        Parallel.ForEachAsync(work, new ParallelOptions { MaxDegreeOfParallelism = atATime }, async (item, _) => await action(item));
}

/// <summary>
/// Shoppers that keep coming until they are told to stop, each a new user. A shopper without a known outcome comes
/// again with the same key until the outcome is settled, as the contract asks.
/// </summary>
public sealed class Load : IAsyncDisposable
{
    // This keeps every stage busy, and two cores can still answer in time.
    private const int Shoppers = 12;
    private const int MostRetries = 1_000;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(8);

    private readonly CancellationTokenSource _stop = new();
    private readonly Stack _stack;
    private readonly Sale _sale;
    private readonly string _prefix;
    private readonly Task _shoppers;
    private int _next;
    private int _accepted;

    public Load(Stack stack, Sale sale, string prefix = "load")
    {
        _stack = stack;
        _sale = sale;
        _prefix = prefix;
        _shoppers = Task.WhenAll(Enumerable.Range(0, Shoppers).Select(_ => Task.Run(ShopAsync)));
    }

    /// <summary>The number of purchases accepted so far.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Waits until this many more purchases have been accepted.</summary>
    public Task AcceptedMoreAsync(int more, int seconds = 30)
    {
        var goal = Accepted + more;
        return Eventually.TrueAsync($"{more} more purchases are accepted ({_sale.History.Summary})", TimeSpan.FromSeconds(seconds), () => Accepted >= goal);
    }

    /// <summary>Lets the shoppers finish their purchases, retries included.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _shoppers;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private async Task ShopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            var number = Interlocked.Increment(ref _next);
            var shopper = _stack.Shopper($"{_prefix}-{number}", number % _stack.Apis.Count);
            var key = $"key-{number}";
            var answer = await shopper.BuyAsync(_sale, key);
            for (var tries = 0; tries < MostRetries && (answer.Status == 0 || answer.Code == "outcome_unknown"); tries++)
            {
                await Task.Delay(Pause);
                answer = await shopper.BuyAsync(_sale, key);
            }
            if (answer.Status == 202) Interlocked.Increment(ref _accepted);
            await Task.Delay(Pause);
        }
    }
}
