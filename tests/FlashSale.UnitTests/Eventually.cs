using System.Diagnostics;

namespace FlashSale.UnitTests;

/// <summary>Waits for the work of other threads.</summary>
internal static class Eventually
{
    /// <summary>Looks until the condition holds, and fails after the deadline.</summary>
    public static async Task TrueAsync(TimeSpan deadline, Func<bool> condition)
    {
        for (var clock = Stopwatch.StartNew(); !condition(); await Task.Delay(10)) Assert.True(clock.Elapsed < deadline, $"It did not happen within {deadline.TotalSeconds} s.");
    }
}
