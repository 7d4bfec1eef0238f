using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Payments;

/// <summary>When the worker asks the provider for a refund again. Section <c>Refunds</c>.</summary>
public sealed class RefundOptions
{
    /// <summary>The wait before the second attempt, in milliseconds. It doubles with each attempt.</summary>
    [Range(100, 60_000)]
    public int FirstRetryMilliseconds { get; set; } = 5_000;

    /// <summary>The longest wait between two attempts at a refund, in seconds.</summary>
    [Range(1, 3_600)]
    public int LongestRetrySeconds { get; set; } = 600;

    /// <summary>
    /// The wait after <paramref name="attempts"/> attempts. It has jitter, since refunds that failed together must not
    /// come back together.
    /// </summary>
    public TimeSpan WaitAfter(int attempts)
    {
        var milliseconds = Math.Min(FirstRetryMilliseconds * Math.Pow(2, Math.Min(attempts - 1, 30)), LongestRetrySeconds * 1000.0);
        return TimeSpan.FromMilliseconds(milliseconds * (0.8 + 0.2 * Random.Shared.NextDouble()));
    }
}
