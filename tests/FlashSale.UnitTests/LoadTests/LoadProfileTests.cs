using FlashSale.LoadTests.Engine;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests the exact moments of arrivals, without a clock.</summary>
public sealed class LoadProfileTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void Even_arrivals_keep_equal_distances_from_the_first_moment_on() =>
        Assert.Equal([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75], Moments(Simulation.Inject(4, Second, 2 * Second)));

    [Fact]
    public void A_rate_may_be_a_fraction_and_its_interval_any() =>
        Assert.Equal([0, 0.8, 1.6, 2.4, 3.2], Moments(Simulation.Inject(2.5, 2 * Second, 4 * Second)));

    [Fact]
    public void What_a_stretch_leaves_of_an_arrival_the_next_goes_on_with() =>
        Assert.Equal([0, 2, 4], Moments(Simulation.Inject(0.5, Second, 3 * Second), Simulation.Inject(0.5, Second, 3 * Second)));

    [Fact]
    public void A_ramp_begins_where_the_stretch_before_ended()
    {
        // After two arrivals at 1 a second, t + 0.25 t² arrive until t. So the k-th of them arrives at t = 2 (sqrt(1 +
        // k) - 1).
        var moments = Moments(Simulation.Inject(1, Second, 2 * Second), Simulation.RampingInject(2, Second, 2 * Second)).ToArray();
        Assert.Equal([0, 1, 2, Math.Round(2 * Math.Sqrt(2), 5), Math.Round(2 * Math.Sqrt(3), 5)], moments.Select(at => Math.Round(at, 5)));
    }

    [Fact]
    public void A_ramp_from_nothing_follows_the_area_under_its_rate()
    {
        // The rate is 5 t a second, so 2.5 t² arrive until t.
        var moments = Moments(Simulation.RampingInject(10, Second, 2 * Second)).ToArray();
        Assert.Equal(Enumerable.Range(0, 10).Select(k => Math.Round(Math.Sqrt(k / 2.5), 5)), moments.Select(at => Math.Round(at, 5)));
    }

    [Fact]
    public void A_ramp_to_nothing_thins_out()
    {
        // 10 t - 2.5 t² arrive until t. So the k-th arrives at t = 2 - sqrt(4 - k / 2.5). The ramp begins after one
        // second.
        var moments = Moments(Simulation.Inject(10, Second, Second), Simulation.RampingInject(0, Second, 2 * Second)).Skip(10).ToArray();
        Assert.Equal(Enumerable.Range(0, 10).Select(k => Math.Round(3 - Math.Sqrt(4 - k / 2.5), 5)), moments.Select(at => Math.Round(at, 5)));
    }

    [Fact]
    public void Nobody_arrives_in_a_pause_and_a_ramp_after_it_begins_at_nothing()
    {
        var profile = new LoadProfile([Simulation.Inject(5, Second, Second), Simulation.Pause(Second), Simulation.RampingInject(10, Second, Second)], 1);
        Assert.DoesNotContain(profile.Arrivals(), at => at >= Second && at < 2 * Second);
        Assert.Equal((0, 5, 10), (profile.RateAt(1.5 * Second), profile.RateAt(2.5 * Second), profile.Expected));
    }

    [Fact]
    public void Copies_that_go_round_ramp_from_one_number_to_the_next()
    {
        var profile = new LoadProfile([Simulation.RampingConstant(10, Second), Simulation.KeepConstant(4, Second), Simulation.RampingConstant(0, Second)], 1);
        Assert.Equal([0, 5, 4, 2, 0], new[] { 0, 0.5, 1.5, 2.5, 3 }.Select(at => profile.CopiesAt(at * Second)));
        Assert.Empty(profile.Arrivals());
        Assert.Equal(3 * Second, profile.Duration);
    }

    [Fact]
    public void Any_load_of_even_arrivals_is_exact_to_one_ascending_and_within_its_time()
    {
        var stretch = Gen.Choose(0, 3).Zip(Gen.Choose(0, 5_000)).Zip(Gen.Choose(1, 4_000)).Select(x => Stretch(x.Item1.Item1, x.Item1.Item2 / 100.0, TimeSpan.FromMilliseconds(x.Item2)));
        Prop.ForAll(Arb.From(Gen.NonEmptyListOf(stretch)), stretches =>
        {
            var profile = new LoadProfile(stretches, 3);
            var arrivals = profile.Arrivals().ToArray();
            return Math.Abs(arrivals.Length - profile.Expected) <= 1 && arrivals.Order().SequenceEqual(arrivals) && arrivals.All(at => at >= TimeSpan.Zero && at <= profile.Duration);
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(50)]
    [InlineData(0.37)]
    public void Poisson_arrivals_have_the_mean_and_the_variance_of_their_rate(double rate)
    {
        var duration = TimeSpan.FromSeconds(20_000 / rate);
        var moments = Moments(Simulation.Inject(rate, Second, duration, Arrivals.Poisson)).ToArray();
        Assert.InRange(moments.Length, 20_000 - 4 * Math.Sqrt(20_000), 20_000 + 4 * Math.Sqrt(20_000));
        var (mean, variance) = Spread(moments.Zip(moments.Skip(1), (a, b) => b - a));
        Assert.InRange(mean * rate, 0.97, 1.03);
        Assert.InRange(variance * rate * rate, 0.93, 1.07);
        // The counts of Poisson arrivals in equal windows have a variance like their mean. Those of an even clock
        // hardly differ.
        var (windowMean, windowVariance) = Spread(PerWindow(moments, 10 / rate, duration));
        Assert.InRange(windowVariance / windowMean, 0.85, 1.15);
        Assert.InRange(Spread(PerWindow(Moments(Simulation.Inject(rate, Second, duration)), 10 / rate, duration)).Variance, 0, 1);
    }

    [Fact]
    public void Poisson_arrivals_follow_a_ramp()
    {
        var moments = Moments(Simulation.RampingInject(2_000, Second, 10 * Second, Arrivals.Poisson)).ToArray();
        // A quarter of the area lies in the first half.
        Assert.InRange(moments.Count(at => at < 5) / (double)moments.Length, 0.23, 0.27);
        Assert.InRange(moments.Length, 9_600, 10_400);
    }

    [Fact]
    public void The_same_seed_gives_the_same_moments_and_another_others()
    {
        LoadSimulation[] load = [Simulation.InjectRandom(5, 50, Second, 10 * Second, Arrivals.Poisson)];
        Assert.Equal(new LoadProfile(load, 5).Arrivals(), new LoadProfile(load, 5).Arrivals());
        Assert.NotEqual(new LoadProfile(load, 5).Arrivals(), new LoadProfile(load, 6).Arrivals());
    }

    [Fact]
    public void A_random_rate_stays_between_its_bounds_and_changes_by_the_interval()
    {
        var profile = new LoadProfile([Simulation.InjectRandom(10, 20, Second, 30 * Second)], 4);
        var rates = Enumerable.Range(0, 30).Select(i => profile.RateAt((i + 0.5) * Second)).ToArray();
        Assert.All(rates, rate => Assert.InRange(rate, 10, 20));
        Assert.True(rates.Distinct().Count() > 20);
        Assert.InRange(profile.Arrivals().Count(), 300, 600);
    }

    [Fact]
    public void An_hour_at_a_hundred_thousand_a_second_is_reckoned_without_holding_it()
    {
        var arrivals = new LoadProfile([Simulation.Inject(100_000, Second, TimeSpan.FromHours(1), Arrivals.Poisson)], 1).Arrivals();
        using var walk = arrivals.GetEnumerator();
        for (var i = 0; i < 1_000; i++) walk.MoveNext();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100_000; i++) walk.MoveNext();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Theory]
    [InlineData(-1, 1)]
    [InlineData(double.NaN, 1)]
    [InlineData(1, 0)]
    public void A_load_that_makes_no_sense_is_refused(double rate, double seconds) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Simulation.Inject(rate, Second, TimeSpan.FromSeconds(seconds)));

    private static IEnumerable<double> Moments(params LoadSimulation[] load) => new LoadProfile(load, 11).Arrivals().Select(at => at.TotalSeconds);

    private static LoadSimulation Stretch(int kind, double rate, TimeSpan during) => kind switch
    {
        0 => Simulation.Inject(rate, Second, during),
        1 => Simulation.RampingInject(rate, Second, during),
        2 => Simulation.InjectRandom(rate / 2, rate, Second, during),
        _ => Simulation.Pause(during),
    };

    private static double[] PerWindow(IEnumerable<double> moments, double window, TimeSpan duration)
    {
        var counts = new double[(int)(duration.TotalSeconds / window)];
        foreach (var at in moments)
            if ((int)(at / window) < counts.Length) counts[(int)(at / window)]++;
        return counts;
    }

    private static (double Mean, double Variance) Spread(IEnumerable<double> values)
    {
        var all = values.ToArray();
        var mean = all.Average();
        return (mean, all.Sum(value => (value - mean) * (value - mean)) / (all.Length - 1));
    }
}
