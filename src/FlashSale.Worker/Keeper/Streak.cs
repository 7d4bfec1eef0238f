namespace FlashSale.Worker.Keeper;

/// <summary>
/// Counts how often in a row the answer was yes. A no begins anew. Unknown does neither: behind a balancer some looks
/// meet a node that hangs, and must not hide what the others see. Answers that lie far apart are no row.
/// </summary>
public sealed class Streak(int length, TimeSpan longestGap)
{
    private int _count;
    private long _last;

    /// <summary>Whether it is as long as it may become.</summary>
    public bool IsComplete => _count >= length;

    /// <summary>Takes the next answer.</summary>
    /// <param name="answer">What was found out.</param>
    /// <param name="now">When, in milliseconds of a monotonic clock.</param>
    public void Add(BrokerAnswer answer, long now)
    {
        if (answer == BrokerAnswer.Unknown) return;
        if (answer == BrokerAnswer.No || now - _last > longestGap.TotalMilliseconds) _count = 0;
        if (answer != BrokerAnswer.Yes) return;
        _count++;
        _last = now;
    }
}
