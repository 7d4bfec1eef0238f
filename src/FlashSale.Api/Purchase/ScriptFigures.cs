using System.Diagnostics;
using System.Numerics;

namespace FlashSale.Api.Purchase;

/// <summary>
/// Latency and failures of the calls of reserve.lua since the last <see cref="Take"/>. Recording takes no lock.
/// </summary>
public sealed class ScriptFigures
{
    // Bucket n counts calls of 2^n to 2^(n+1) microseconds.
    private readonly int[] _byMagnitude = new int[32];
    private int _failures;

    /// <summary>Notes a call that started at a <see cref="Stopwatch"/> timestamp.</summary>
    public void Note(long startedAt, bool failed)
    {
        var microseconds = (uint)Math.Clamp(Stopwatch.GetElapsedTime(startedAt).TotalMicroseconds, 1, int.MaxValue);
        Interlocked.Increment(ref _byMagnitude[BitOperations.Log2(microseconds)]);
        if (failed) Interlocked.Increment(ref _failures);
    }

    /// <summary>
    /// Takes the 99th percentile and the share of failures (0 to 1), and begins anew. The percentile is the upper bound
    /// of its bucket, at most twice the true value.
    /// </summary>
    public (TimeSpan P99, double Failed) Take()
    {
        Span<int> counts = stackalloc int[_byMagnitude.Length];
        var all = 0;
        for (var i = 0; i < counts.Length; i++) all += counts[i] = Interlocked.Exchange(ref _byMagnitude[i], 0);
        var failures = Interlocked.Exchange(ref _failures, 0);
        if (all == 0) return (TimeSpan.Zero, 0);
        var above = (all + 99) / 100;
        var magnitude = counts.Length - 1;
        for (var seen = counts[magnitude]; seen < above; seen += counts[magnitude]) magnitude--;
        return (TimeSpan.FromMicroseconds(1L << (magnitude + 1)), (double)failures / all);
    }
}
