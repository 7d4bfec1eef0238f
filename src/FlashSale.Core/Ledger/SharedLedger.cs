using System.Collections.Concurrent;
using System.Diagnostics;

namespace FlashSale.Ledger;

/// <summary>
/// Reads the books for many readers. A read holds the sale's exclusive lock, so persistence waits for it. Readers that
/// come while a read runs share the next one, and after each read comes a rest of nine times its length (at most two
/// seconds). A reader never gets books from before its question. Safe for use by many threads.
/// </summary>
public sealed class SharedLedger(LedgerReader ledger)
{
    private const int RestFactor = 9;

    private static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, Looks> _sales = new(StringComparer.Ordinal);

    /// <summary>Reads the books. Null when no sale has this id.</summary>
    /// <exception cref="Npgsql.PostgresException">
    /// 55P03: another transaction holds the sale's lock. Call again.
    /// </exception>
    public Task<SaleLedger?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        var looks = _sales.GetOrAdd(saleId, static _ => new Looks());
        Task<SaleLedger?> next;
        lock (looks) next = looks.Next ??= LookAsync(saleId, looks);
        return next.WaitAsync(cancellation);
    }

    private async Task<SaleLedger?> LookAsync(string saleId, Looks looks)
    {
        // Let the caller set Next to this task before it runs.
        await Task.Yield();
        await looks.Turn.WaitAsync();
        try
        {
            await Task.Delay(looks.Rest);
            // Readers that come from here on need the books of a later moment.
            lock (looks) looks.Next = null;
            var since = Stopwatch.GetTimestamp();
            var books = await ledger.ReadAsync(saleId, CancellationToken.None);
            var rest = Stopwatch.GetElapsedTime(since) * RestFactor;
            looks.RestFrom(rest < LongestRest ? rest : LongestRest);
            if (books is null) _sales.TryRemove(saleId, out _);
            return books;
        }
        finally
        {
            looks.Turn.Release();
        }
    }

    // The reads of one sale.
    private sealed class Looks
    {
        private long _free;

        public SemaphoreSlim Turn { get; } = new(1);

        public Task<SaleLedger?>? Next { get; set; }

        // The time left of the rest after the last read.
        public TimeSpan Rest
        {
            get
            {
                var now = Stopwatch.GetTimestamp();
                return now < _free ? Stopwatch.GetElapsedTime(now, _free) : TimeSpan.Zero;
            }
        }

        public void RestFrom(TimeSpan rest) => _free = Stopwatch.GetTimestamp() + (long)(rest.TotalSeconds * Stopwatch.Frequency);
    }
}
