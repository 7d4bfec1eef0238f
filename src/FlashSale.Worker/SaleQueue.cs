namespace FlashSale.Worker;

/// <summary>A piece of work on one sale.</summary>
/// <param name="SaleId">The sale. Its next work begins only after this work has ended.</param>
/// <param name="CanWait">Whether such work may take only half of the places, rounded up. It is true for a sale that has
/// ended, since no shopper waits for it.</param>
/// <param name="RunAsync">Does the work. It handles its own errors and throws nothing, since the queue observes no
/// exception.</param>
public sealed record SaleWork(string SaleId, bool CanWait, Func<Task> RunAsync);

/// <summary>
/// Works on a few sales at a time, the most urgent first, and never on one sale twice at once. A sale that waits for a
/// lock or a store holds its place, but neither the caller's turn nor the other sales wait for it. Safe for use by many
/// threads.
/// </summary>
/// <param name="places">How many sales are worked on at a time.</param>
public sealed class SaleQueue(int places)
{
    private readonly Lock _sync = new();
    private readonly Dictionary<string, bool> _running = new(StringComparer.Ordinal);
    private List<SaleWork> _waiting = [];

    /// <summary>Whether a sale is being worked on.</summary>
    public bool IsBusy(string saleId)
    {
        lock (_sync) return _running.ContainsKey(saleId);
    }

    /// <summary>
    /// Replaces all work that has not begun, and begins as much of the new work as there are places. The rest begins
    /// when other work ends, unless another call replaces it first. Work on a sale that is being worked on is dropped.
    /// </summary>
    /// <param name="mostUrgentFirst">One piece of work per sale.</param>
    public void Offer(IEnumerable<SaleWork> mostUrgentFirst)
    {
        lock (_sync) _waiting = [.. mostUrgentFirst.Where(work => !_running.ContainsKey(work.SaleId))];
        BeginSome();
    }

    private void BeginSome()
    {
        while (Take() is { } work) _ = RunAsync(work);
    }

    private SaleWork? Take()
    {
        lock (_sync)
        {
            var canWaitRunning = _running.Values.Count(canWait => canWait);
            var next = _running.Count >= places ? -1 : _waiting.FindIndex(work => !work.CanWait || canWaitRunning < (places + 1) / 2);
            if (next < 0) return null;
            var work = _waiting[next];
            _waiting.RemoveAt(next);
            _running[work.SaleId] = work.CanWait;
            return work;
        }
    }

    private async Task RunAsync(SaleWork work)
    {
        // Leave the caller's stack: the work must run neither inside Offer nor inside the end of the previous work.
        await Task.Yield();
        try
        {
            await work.RunAsync();
        }
        finally
        {
            lock (_sync) _running.Remove(work.SaleId);
            BeginSome();
        }
    }
}
