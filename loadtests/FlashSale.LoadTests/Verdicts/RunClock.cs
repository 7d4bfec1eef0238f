using System.Diagnostics;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>
/// Tells the Unix time in microseconds. It never goes back within a process, so answers can be put in order.
/// </summary>
public static class RunClock
{
    private static readonly long Began = Stopwatch.GetTimestamp();
    private static readonly long BeganAt = TimeProvider.System.GetUtcNow().Ticks / 10 - DateTime.UnixEpoch.Ticks / 10;

    /// <summary>The current time.</summary>
    public static long Microseconds => BeganAt + Stopwatch.GetElapsedTime(Began).Ticks / 10;
}
