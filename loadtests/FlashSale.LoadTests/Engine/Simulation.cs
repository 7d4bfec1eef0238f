namespace FlashSale.LoadTests.Engine;

/// <summary>How arrivals of one rate are spread over time.</summary>
public enum Arrivals
{
    /// <summary>Equal distances: what a timer does.</summary>
    Even,

    /// <summary>A Poisson process: what many people who know nothing of each other do.</summary>
    Poisson,
}

/// <summary>A stretch of a scenario's load. Made by <see cref="Simulation"/>.</summary>
/// <param name="During">How long it lasts.</param>
public abstract record LoadSimulation(TimeSpan During)
{
    /// <summary>Open model: copies arrive, whether earlier ones are done or not. Rates are arrivals a second; the rate moves evenly from the first to the last.</summary>
    public sealed record Open(double? From, double To, Arrivals Arrivals, TimeSpan During) : LoadSimulation(During);

    /// <summary>Open model, each interval at a rate (arrivals a second) drawn evenly between two.</summary>
    public sealed record OpenRandom(double Min, double Max, TimeSpan Interval, Arrivals Arrivals, TimeSpan During) : LoadSimulation(During);

    /// <summary>Closed model: that many copies, each starting again as soon as it is done. The number moves evenly from the first to the last.</summary>
    public sealed record Closed(int? From, int To, TimeSpan During) : LoadSimulation(During);

    /// <summary>Nobody arrives.</summary>
    public sealed record Quiet(TimeSpan During) : LoadSimulation(During);
}

/// <summary>Stretches of load. Rates are per interval and may be fractional; a ramp begins where the stretch before it ended (0 at the start, and after a pause or another model).</summary>
public static class Simulation
{
    /// <summary>That many arrivals per interval.</summary>
    public static LoadSimulation Inject(double rate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even)
    {
        var perSecond = PerSecond(rate, interval);
        return new LoadSimulation.Open(perSecond, perSecond, arrivals, Length(during));
    }

    /// <summary>From the rate of the stretch before to this one.</summary>
    public static LoadSimulation RampingInject(double rate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even) =>
        new LoadSimulation.Open(null, PerSecond(rate, interval), arrivals, Length(during));

    /// <summary>Each interval has a rate of its own between two.</summary>
    public static LoadSimulation InjectRandom(double minRate, double maxRate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even)
    {
        if (minRate > maxRate) throw new ArgumentOutOfRangeException(nameof(minRate), minRate, $"The lower rate is above the upper, {maxRate}.");
        return new LoadSimulation.OpenRandom(PerSecond(minRate, interval), PerSecond(maxRate, interval), interval, arrivals, Length(during));
    }

    /// <summary>That many copies at any time.</summary>
    public static LoadSimulation KeepConstant(int copies, TimeSpan during) => new LoadSimulation.Closed(Copies(copies), copies, Length(during));

    /// <summary>From the number of copies of the stretch before to this one.</summary>
    public static LoadSimulation RampingConstant(int copies, TimeSpan during) => new LoadSimulation.Closed(null, Copies(copies), Length(during));

    /// <summary>Nobody arrives; who is there goes on to the end of their iteration.</summary>
    public static LoadSimulation Pause(TimeSpan during) => new LoadSimulation.Quiet(Length(during));

    private static double PerSecond(double rate, TimeSpan interval)
    {
        if (!(rate >= 0 && double.IsFinite(rate))) throw new ArgumentOutOfRangeException(nameof(rate), rate, "A rate is a number from 0 on.");
        if (interval <= TimeSpan.Zero) throw new ArgumentOutOfRangeException(nameof(interval), interval, "An interval is longer than 0.");
        return rate / interval.TotalSeconds;
    }

    private static int Copies(int copies) => copies >= 0 ? copies : throw new ArgumentOutOfRangeException(nameof(copies), copies, "Copies are a number from 0 on.");

    private static TimeSpan Length(TimeSpan during) => during > TimeSpan.Zero ? during : throw new ArgumentOutOfRangeException(nameof(during), during, "A stretch of load lasts longer than 0.");
}
