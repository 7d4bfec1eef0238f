namespace FlashSale.Worker.Keeper;

/// <summary>
/// Counts how often in a row the answer was yes. A no starts the count again. An unknown answer changes nothing: behind
/// a balancer some looks meet a node that hangs, and must not hide the answers of the others. Two answers further apart
/// than the longest gap do not belong to one row.
/// </summary>
public sealed class Streak(int length, TimeSpan longestGap)
{
    private int _count;
    private long _last;

    /// <summary>Whether the row has reached its full length.</summary>
    public bool IsComplete => _count >= length;

    /// <summary>Adds the next answer.</summary>
    /// <param name="answer">The answer.</param>
    /// <param name="now">The time, in milliseconds of a monotonic clock.</param>
    public void Add(BrokerAnswer answer, long now)
    {
        if (answer == BrokerAnswer.Unknown) return;
        if (answer == BrokerAnswer.No || now - _last > longestGap.TotalMilliseconds) _count = 0;
        if (answer != BrokerAnswer.Yes) return;
        _count++;
        _last = now;
    }
}
