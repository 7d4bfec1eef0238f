using System.Numerics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A histogram of whole numbers in bounded memory (31 KB, however many were recorded), for durations in microseconds and sizes in bytes.
/// A number below 128 keeps its value, a larger one is known to within <see cref="RelativeError"/>. Recording takes no lock; reading while others record
/// may miss the newest.
/// </summary>
public sealed class Histogram
{
    /// <summary>
    /// What a percentile may be above the exact one, as a share of it: 1/128 (0.8 %). It is never below: what is told is the upper end of the numbers that
    /// share a counter, or the maximum, which is exact. Above <see cref="Largest"/> only minimum, maximum and mean are right.
    /// </summary>
    public const double RelativeError = 1.0 / Steps;

    /// <summary>The largest number that keeps its place: as microseconds 19 hours.</summary>
    public const long Largest = (1L << (StepBits + Magnitudes)) - 1;

    private const int StepBits = 7;
    private const int Steps = 1 << StepBits;
    private const int Magnitudes = 29;

    private readonly long[] _counts = new long[(Magnitudes + 1) * Steps];
    private long _sum;
    private long _min = long.MaxValue;
    private long _max;

    /// <summary>How many were recorded.</summary>
    public long Count => _counts.Sum();

    /// <summary>The smallest; 0 when there are none.</summary>
    public long Min => Volatile.Read(ref _min) is var min && min == long.MaxValue ? 0 : min;

    /// <summary>The largest; 0 when there are none.</summary>
    public long Max => Volatile.Read(ref _max);

    /// <summary>Of all, not of the counters; 0 when there are none.</summary>
    public double Mean => Count is var count and > 0 ? (double)Volatile.Read(ref _sum) / count : 0;

    /// <summary>Of all, by the middles of their counters.</summary>
    public double StandardDeviation
    {
        get
        {
            var (count, mean) = (Count, Mean);
            if (count == 0) return 0;
            var squares = 0.0;
            for (var i = 0; i < _counts.Length; i++) squares += _counts[i] * Math.Pow((LowerBound(i) + UpperBound(i)) / 2.0 - mean, 2);
            return Math.Sqrt(squares / count);
        }
    }

    /// <summary>Records a number; a negative one as 0.</summary>
    public void Add(long value)
    {
        value = Math.Max(0, value);
        Interlocked.Increment(ref _counts[IndexOf(Math.Min(value, Largest))]);
        Interlocked.Add(ref _sum, value);
        for (var min = Volatile.Read(ref _min); value < min;) min = Interlocked.CompareExchange(ref _min, value, min) is var was && was == min ? value : was;
        for (var max = Volatile.Read(ref _max); value > max;) max = Interlocked.CompareExchange(ref _max, value, max) is var was && was == max ? value : was;
    }

    /// <summary>The number that a share (0 to 1) of all does not exceed: the exact percentile by nearest rank, or up to <see cref="RelativeError"/> more. 0 when there are none.</summary>
    public long Percentile(double share)
    {
        var count = Count;
        if (count == 0) return 0;
        var rank = Math.Clamp((long)Math.Ceiling(count * share - 1e-9), 1, count);
        var index = 0;
        for (var seen = _counts[0]; seen < rank && index < _counts.Length - 1; seen += _counts[index]) index++;
        return Math.Min(index == _counts.Length - 1 ? Max : UpperBound(index), Max);
    }

    private static int IndexOf(long value)
    {
        if (value < Steps) return (int)value;
        var magnitude = BitOperations.Log2((ulong)value) - StepBits;
        return magnitude * Steps + (int)(value >> magnitude);
    }

    private static long UpperBound(int index)
    {
        if (index < 2 * Steps) return index;
        var magnitude = index / Steps - 1;
        return ((long)(index % Steps + Steps + 1) << magnitude) - 1;
    }

    private static long LowerBound(int index) => index < 2 * Steps ? index : UpperBound(index - 1) + 1;
}
