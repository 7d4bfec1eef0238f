using System.Diagnostics.Metrics;

namespace FlashSale.Platform;

/// <summary>
/// The figures of one set of labels. Many threads write them at once, and the exporter reads them meanwhile.
/// </summary>
internal sealed class MetricSeries(string labels, int bounds)
{
    private readonly long[] _buckets = new long[bounds + 1];
    private double _value;
    private int _round;

    /// <summary>The labels as Prometheus text: <c>a="1",b="2"</c>.</summary>
    public string Labels { get; } = labels;

    /// <summary>The sum of all values that were added or observed, or the latest value that was set.</summary>
    public double Value => Volatile.Read(ref _value);

    public int Round => Volatile.Read(ref _round);

    public void Add(double value)
    {
        double before;
        do
        {
            before = Volatile.Read(ref _value);
        }
        while (Interlocked.CompareExchange(ref _value, before + value, before) != before);
    }

    public void Set(double value, int round)
    {
        Volatile.Write(ref _value, value);
        Volatile.Write(ref _round, round);
    }

    public void Observe(double value, double[] upperBounds)
    {
        // NaN belongs to no bucket and would poison the sum for good.
        if (double.IsNaN(value)) return;
        var i = 0;
        while (i < upperBounds.Length && value > upperBounds[i]) i++;
        Interlocked.Increment(ref _buckets[i]);
        Add(value);
    }

    public void WriteHistogram(PrometheusText text, string name, double[] upperBounds)
    {
        // The count is the value of the last bucket, not a figure of its own. So the two agree even if a thread records
        // meanwhile.
        long count = 0;
        for (var i = 0; i < _buckets.Length; i++)
        {
            count += Interlocked.Read(ref _buckets[i]);
            text.Sample(name + "_bucket", Labels, count, i < upperBounds.Length ? upperBounds[i] : double.PositiveInfinity);
        }

        text.Sample(name + "_sum", Labels, Value);
        text.Sample(name + "_count", Labels, count);
    }
}

/// <summary>Upper bounds of an instrument's buckets: the instrument's own advice, else fixed bounds by unit.</summary>
internal static class HistogramBounds
{
    // The bounds reach from half a millisecond, for a purchase answered locally, to ten seconds, for a drain after an
    // outage.
    private static readonly double[] Seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
    private static readonly double[] Others = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

    public static double[] Of(Instrument instrument)
    {
        var advised = instrument switch
        {
            Instrument<double> typed => Advised(typed),
            Instrument<long> typed => Advised(typed),
            Instrument<int> typed => Advised(typed),
            Instrument<float> typed => Advised(typed),
            Instrument<short> typed => Advised(typed),
            Instrument<byte> typed => Advised(typed),
            Instrument<decimal> typed => Advised(typed),
            _ => null,
        };
        return advised ?? (instrument.Unit == "s" ? Seconds : Others);
    }

    private static double[]? Advised<T>(Instrument<T> instrument) where T : struct =>
        instrument.Advice?.HistogramBucketBoundaries is { Count: > 0 } bounds ? [.. bounds.Select(bound => Convert.ToDouble(bound))] : null;
}
