using System.Numerics;

namespace FlashSale.LoadTests;

/// <summary>A histogram of durations in bounded memory, each to 1/32 of its value (3 %). Recording takes no lock.</summary>
public sealed class Latencies
{
    private const int Steps = 32;

    private readonly long[] _counts = new long[64 * Steps];

    /// <summary>How many were recorded.</summary>
    public long Count => _counts.Sum();

    /// <summary>Records a duration.</summary>
    public void Add(TimeSpan duration) => Interlocked.Increment(ref _counts[IndexOf(Math.Max(1, (long)duration.TotalMicroseconds))]);

    /// <summary>The duration below which a share of all lies, in milliseconds, by the upper bound of its step; 0 when there are none.</summary>
    public double Percentile(double share)
    {
        var rank = (long)Math.Ceiling(Count * share);
        if (rank == 0) return 0;
        var index = 0;
        for (var seen = _counts[0]; seen < rank; seen += _counts[index]) index++;
        return UpperBound(index) / 1_000.0;
    }

    private static int IndexOf(long microseconds)
    {
        if (microseconds < Steps) return (int)microseconds;
        var magnitude = BitOperations.Log2((ulong)microseconds) - 5;
        return (magnitude + 1) * Steps + (int)(microseconds >> magnitude) - Steps;
    }

    private static long UpperBound(int index)
    {
        if (index < Steps) return index;
        var magnitude = index / Steps - 1;
        return (long)(index % Steps + Steps + 1) << magnitude;
    }
}
