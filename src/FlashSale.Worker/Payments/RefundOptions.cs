using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Payments;

/// <summary>Section <c>Refunds</c>.</summary>
public sealed class RefundOptions
{
    /// <summary>After how long the provider is asked again the first time, in milliseconds; doubles each time.</summary>
    [Range(100, 60_000)]
    public int FirstRetryMilliseconds { get; set; } = 5_000;

    /// <summary>Longest that the provider is left alone with a refund, in seconds.</summary>
    [Range(1, 3_600)]
    public int LongestRetrySeconds { get; set; } = 600;

    /// <summary>How long to wait after so many attempts, with jitter: many refunds that failed together must not come back together.</summary>
    public TimeSpan WaitAfter(int attempts)
    {
        var milliseconds = Math.Min(FirstRetryMilliseconds * Math.Pow(2, Math.Min(attempts - 1, 30)), LongestRetrySeconds * 1000.0);
        return TimeSpan.FromMilliseconds(milliseconds * (0.8 + 0.2 * Random.Shared.NextDouble()));
    }
}
