using System.Collections.Concurrent;
using System.Diagnostics;

namespace FlashSale.Ledger;

/// <summary>
/// Reads the books for many readers. A look holds the sale's exclusive lock, so persistence waits for it: readers who come
/// while one runs share the next, and each look is followed by a rest of nine times its length (up to two seconds). An
/// answer is never older than its question. Safe for use by many threads.
/// </summary>
public sealed class SharedLedger(LedgerReader ledger)
{
    private const int RestFactor = 9;

    private static readonly TimeSpan LongestRest = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, Looks> _sales = new(StringComparer.Ordinal);

    /// <summary>Reads the books; null when there is no such sale.</summary>
    /// <exception cref="Npgsql.PostgresException">55P03: the sale's lock is taken; call again.</exception>
    public Task<SaleLedger?> ReadAsync(string saleId, CancellationToken cancellation)
    {
        var looks = _sales.GetOrAdd(saleId, static _ => new Looks());
        Task<SaleLedger?> next;
        lock (looks) next = looks.Next ??= LookAsync(saleId, looks);
        return next.WaitAsync(cancellation);
    }

    private async Task<SaleLedger?> LookAsync(string saleId, Looks looks)
    {
        // Next is this task before it begins.
        await Task.Yield();
        await looks.Turn.WaitAsync();
        try
        {
            await Task.Delay(looks.Rest);
            // Readers who come from here on ask for a later moment.
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

    // The looks at one sale.
    private sealed class Looks
    {
        private long _free;

        public SemaphoreSlim Turn { get; } = new(1);

        public Task<SaleLedger?>? Next { get; set; }

        // What is left of the rest after the last look.
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
