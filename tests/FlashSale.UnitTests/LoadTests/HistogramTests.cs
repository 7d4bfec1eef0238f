using FlashSale.LoadTests.Engine;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Compares the percentiles of the histogram with exact ones.</summary>
public sealed class HistogramTests
{
    private static readonly double[] Shares = [0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1];

    [Fact]
    public void Every_percentile_is_the_exact_one_or_up_to_the_stated_error_above()
    {
        // There are as many small as large numbers. Each lies between a random power of two and the next one.
        var number = Gen.Choose(0, 35).Zip(Gen.Choose(0, int.MaxValue)).Select(pair => (long)(Math.Pow(2, pair.Item1) * (1 + pair.Item2 / (double)int.MaxValue)));
        Prop.ForAll(Arb.From(Gen.NonEmptyListOf(number)), numbers => Shares.All(share => IsWithinError([.. numbers], share))).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_hundred_thousand_of_a_long_tail_are_within_the_stated_error_too()
    {
        var random = new Random(7);
        var numbers = Enumerable.Range(0, 100_000).Select(_ => (long)(200 * Math.Exp(2 * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))).ToArray();
        Assert.All(Shares, share => Assert.True(IsWithinError(numbers, share)));
    }

    [Fact]
    public void The_stated_error_is_below_one_percent_and_the_check_can_tell()
    {
        Assert.InRange(Histogram.RelativeError, 0, 0.01);
        Assert.False(IsWithinError([10_000], 0.5, told: 10_100));
        Assert.False(IsWithinError([10_000], 0.5, told: 9_999));
    }

    [Fact]
    public void Minimum_maximum_mean_and_deviation_are_of_the_numbers_themselves()
    {
        var histogram = new Histogram();
        foreach (var number in new[] { 3L, 1_000_003, 77_777 }) histogram.Add(number);
        Assert.Equal((3, 1_000_003, 3), (histogram.Min, histogram.Max, histogram.Count));
        Assert.Equal((3 + 1_000_003 + 77_777) / 3.0, histogram.Mean, 6);
        Assert.InRange(histogram.StandardDeviation, 454_000, 456_000);
    }

    [Fact]
    public void An_empty_one_is_all_zero()
    {
        var histogram = new Histogram();
        Assert.Equal((0L, 0L, 0L, 0L, 0.0, 0.0), (histogram.Count, histogram.Min, histogram.Max, histogram.Percentile(0.99), histogram.Mean, histogram.StandardDeviation));
    }

    [Fact]
    public void What_is_beyond_its_range_is_told_as_the_maximum_and_what_is_negative_as_nothing()
    {
        var histogram = new Histogram();
        histogram.Add(-5);
        histogram.Add(Histogram.Largest * 4);
        Assert.Equal((0, Histogram.Largest * 4), (histogram.Percentile(0.5), histogram.Percentile(1)));
    }

    [Fact]
    public void Recording_allocates_nothing()
    {
        var histogram = new Histogram();
        histogram.Add(1);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0L; i < 100_000; i++) histogram.Add(i * 977);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public async Task Nothing_is_lost_when_several_record_at_once()
    {
        var histogram = new Histogram();
        await Task.WhenAll(Enumerable.Range(1, 4).Select(start => Task.Run(() =>
        {
            for (var i = 0; i < 50_000; i++) histogram.Add(start * 1_000_000 + i);
        })));
        Assert.Equal((200_000, 1_000_000, 4_049_999), (histogram.Count, histogram.Min, histogram.Max));
    }

    private static bool IsWithinError(long[] numbers, double share)
    {
        var histogram = new Histogram();
        foreach (var number in numbers) histogram.Add(number);
        return IsWithinError(numbers, share, histogram.Percentile(share));
    }

    private static bool IsWithinError(long[] numbers, double share, long told)
    {
        var exact = numbers.Order().ElementAt(Math.Clamp((int)Math.Ceiling(numbers.Length * share - 1e-9), 1, numbers.Length) - 1);
        return told >= exact && told <= exact * (1 + Histogram.RelativeError);
    }
}
