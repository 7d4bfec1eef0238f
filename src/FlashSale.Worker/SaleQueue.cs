namespace FlashSale.Worker;

/// <summary>A piece of work on one sale.</summary>
/// <param name="SaleId">The sale; its next work begins only after this.</param>
/// <param name="CanWait">Whether it may not take the last places: of a sale that has ended, nobody waits for it.</param>
/// <param name="RunAsync">Does it. Throws nothing: the work of other sales goes on.</param>
public sealed record SaleWork(string SaleId, bool CanWait, Func<Task> RunAsync);

/// <summary>
/// Works on sales: a few at a time, the most urgent first, each sale once at a time. A sale that waits, for a lock or a
/// store, takes a place and no turn: the others go on. Safe for use by many threads.
/// </summary>
/// <param name="places">How many sales at a time.</param>
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
    /// Takes the place of all work that has not begun, and begins as much of it as there are places. The rest begins when
    /// others end, or is replaced before.
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
        // Never within the caller's turn, nor within the end of the work before.
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
