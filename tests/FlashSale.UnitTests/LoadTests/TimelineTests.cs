using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests that the course of a run stays in bounded memory.</summary>
public sealed class TimelineTests
{
    [Fact]
    public void A_short_run_keeps_each_second()
    {
        var timeline = new Timeline();
        timeline.Add(1, ok: 100, fail: 0, missed: 0, inFlight: 3, Of(2_000));
        timeline.Add(2, ok: 250, fail: 10, missed: 5, inFlight: 4, Of(9_000));
        Assert.Equal([new TimelinePoint(1, 100, 0, 0, 3, 2, 2, 2), new TimelinePoint(2, 150, 10, 5, 4, 9, 9, 9)], timeline.Points());
    }

    [Fact]
    public void A_run_of_days_keeps_its_sums_and_its_worst_moment_in_as_little()
    {
        var timeline = new Timeline();
        const int Seconds = 200_000;
        for (var second = 1; second <= Seconds; second++) timeline.Add(second, 10L * second, 0, 0, 1, second == 123_456 ? Of(5_000_000) : Of(1_000));
        var points = timeline.Points();
        Assert.InRange(points.Count, Timeline.Most / 2, Timeline.Most + 1);
        Assert.All(points, point => Assert.Equal(10, point.OkRps, 6));
        Assert.Equal(Seconds, points[^1].AtSeconds);
        var worst = Assert.Single(points, point => point.MaxMs > 1);
        Assert.InRange(123_456, worst.AtSeconds - 1_000, worst.AtSeconds);
        Assert.Equal(5_000, worst.P99Ms);
    }

    private static Histogram Of(long microseconds)
    {
        var histogram = new Histogram();
        histogram.Add(microseconds);
        return histogram;
    }
}
