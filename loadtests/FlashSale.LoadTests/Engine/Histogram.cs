using System.Numerics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A histogram of whole numbers in bounded memory (31 KB, however many were recorded), for durations in microseconds
/// and sizes in bytes. A number below 128 keeps its value. A larger number is known to within
/// <see cref="RelativeError"/>. Recording takes no lock, so a reader may miss the newest numbers of other threads.
/// </summary>
public sealed class Histogram
{
    /// <summary>
    /// The most by which a percentile may exceed the exact one, as a share of it: 1/128 (0.8 %). A percentile is never
    /// too low: the histogram reports the upper end of the numbers that share a counter, or the maximum, which is
    /// exact. Above <see cref="Largest"/> only minimum, maximum and mean are right.
    /// </summary>
    public const double RelativeError = 1.0 / Steps;

    /// <summary>
    /// The largest number with a counter in its proper range: in microseconds, 19 hours. Larger numbers share the last
    /// counter.
    /// </summary>
    public const long Largest = (1L << (StepBits + Magnitudes)) - 1;

    private const int StepBits = 7;
    private const int Steps = 1 << StepBits;
    private const int Magnitudes = 29;

    private readonly long[] _counts = new long[(Magnitudes + 1) * Steps];
    private long _sum;
    private long _min = long.MaxValue;
    private long _max;

    /// <summary>Number of recorded values.</summary>
    public long Count => _counts.Sum();

    /// <summary>The smallest recorded value, 0 when the histogram is empty.</summary>
    public long Min => Volatile.Read(ref _min) is var min && min == long.MaxValue ? 0 : min;

    /// <summary>The largest recorded value, 0 when the histogram is empty.</summary>
    public long Max => Volatile.Read(ref _max);

    /// <summary>Mean of the recorded values themselves, not of their counters. 0 when the histogram is empty.</summary>
    public double Mean => Count is var count and > 0 ? (double)Volatile.Read(ref _sum) / count : 0;

    /// <summary>Standard deviation, computed from the middle of each counter's range.</summary>
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

    /// <summary>Records a number. A negative number counts as 0.</summary>
    public void Add(long value)
    {
        value = Math.Max(0, value);
        Interlocked.Increment(ref _counts[IndexOf(Math.Min(value, Largest))]);
        Interlocked.Add(ref _sum, value);
        for (var min = Volatile.Read(ref _min); value < min;) min = Interlocked.CompareExchange(ref _min, value, min) is var was && was == min ? value : was;
        for (var max = Volatile.Read(ref _max); value > max;) max = Interlocked.CompareExchange(ref _max, value, max) is var was && was == max ? value : was;
    }

    /// <summary>
    /// Returns the number that a share (0 to 1) of all values does not exceed: the exact percentile by nearest rank, or
    /// up to <see cref="RelativeError"/> more. 0 when the histogram is empty.
    /// </summary>
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
