namespace FlashSale.Platform;

/// <summary>
/// Estimates the clock of Redis between pings, by its offset to this process' monotonic clock. The estimate is never
/// ahead of Redis, and behind it by at most a round trip. One caller at a time observes. Any thread reads.
/// </summary>
public sealed class RedisClock
{
    private const int MaxSamples = 8;

    private readonly TimeProvider _time;
    private readonly long _perMillisecond;
    private readonly long[] _offsets = new long[MaxSamples];
    private int _count;
    private int _next;
    private int _otherServer;
    private long _offset;

    /// <summary>Begins with this machine's clock, which is the best guess until Redis has told its time.</summary>
    public RedisClock(TimeProvider time)
    {
        (_time, _perMillisecond) = (time, time.TimestampFrequency / 1000);
        _offset = time.GetUtcNow().ToUnixTimeMilliseconds() - Monotonic;
    }

    /// <summary>Whether Redis has told its time.</summary>
    public bool HasSample => Volatile.Read(ref _count) > 0;

    /// <summary>The estimated time of Redis, Unix milliseconds.</summary>
    public long NowMilliseconds => Monotonic + Interlocked.Read(ref _offset);

    private long Monotonic => _time.GetTimestamp() / _perMillisecond;

    /// <summary>
    /// Takes a time that Redis has just told. The time was true when Redis wrote it, so the estimate errs towards the
    /// past.
    /// </summary>
    /// <param name="milliseconds">Unix milliseconds.</param>
    public void Observe(long milliseconds)
    {
        // Samples of the old server's clock say nothing about the new server's clock, so they are dropped.
        var count = Interlocked.Exchange(ref _otherServer, 0) == 1 ? 0 : _count;
        if (count == 0) _next = 0;
        _offsets[_next] = milliseconds - Monotonic;
        _next = (_next + 1) % MaxSamples;
        Volatile.Write(ref _count, Math.Min(count + 1, MaxSamples));
        // The largest offset comes from the sample with the shortest way back, which is nearest to the truth.
        Interlocked.Exchange(ref _offset, _offsets.Take(_count).Max());
    }

    /// <summary>Says that another server answers from now on. The next sample drops the earlier ones.</summary>
    public void ServerReplaced() => Volatile.Write(ref _otherServer, 1);
}
