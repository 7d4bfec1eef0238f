using System.Diagnostics;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>Unix time in microseconds that never goes back within a process, so that answers can be put in order.</summary>
public static class RunClock
{
    private static readonly long Began = Stopwatch.GetTimestamp();
    private static readonly long BeganAt = TimeProvider.System.GetUtcNow().Ticks / 10 - DateTime.UnixEpoch.Ticks / 10;

    /// <summary>Now.</summary>
    public static long Microseconds => BeganAt + Stopwatch.GetElapsedTime(Began).Ticks / 10;
}
