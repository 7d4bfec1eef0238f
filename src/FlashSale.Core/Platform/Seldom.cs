namespace FlashSale.Platform;

/// <summary>Lets something happen at most once in a time, however many ask for it. Thread-safe.</summary>
internal sealed class Seldom(TimeSpan every)
{
    private readonly long _every = (long)every.TotalMilliseconds;
    private long _last = Environment.TickCount64 - (long)every.TotalMilliseconds;

    /// <summary>Whether it is time again; the caller that is told so is the only one.</summary>
    public bool IsDue()
    {
        var (last, now) = (Volatile.Read(ref _last), Environment.TickCount64);
        return now - last >= _every && Interlocked.CompareExchange(ref _last, now, last) == last;
    }
}
