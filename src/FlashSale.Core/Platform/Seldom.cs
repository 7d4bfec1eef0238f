namespace FlashSale.Platform;

/// <summary>
/// Lets something happen at most once per interval, no matter how many callers ask for it. Thread-safe.
/// </summary>
internal sealed class Seldom(TimeSpan every)
{
    private readonly long _every = (long)every.TotalMilliseconds;
    private long _last = Environment.TickCount64 - (long)every.TotalMilliseconds;

    /// <summary>Whether the interval is over. Only one caller per interval is told so.</summary>
    public bool IsDue()
    {
        var (last, now) = (Volatile.Read(ref _last), Environment.TickCount64);
        return now - last >= _every && Interlocked.CompareExchange(ref _last, now, last) == last;
    }
}
