namespace FlashSale.LoadTests.Engine;

/// <summary>Distribution of the arrivals of one rate over time.</summary>
public enum Arrivals
{
    /// <summary>Arrivals come at equal distances, as a timer makes them.</summary>
    Even,

    /// <summary>Arrivals form a Poisson process, as many people make it that do not know of each other.</summary>
    Poisson,
}

/// <summary>A stretch of a scenario's load. <see cref="Simulation"/> creates it.</summary>
/// <param name="During">Length of the stretch.</param>
public abstract record LoadSimulation(TimeSpan During)
{
    /// <summary>
    /// Open model: copies arrive, whether earlier ones are done or not. Rates are arrivals a second. The rate moves
    /// evenly from the first to the last.
    /// </summary>
    public sealed record Open(double? From, double To, Arrivals Arrivals, TimeSpan During) : LoadSimulation(During);

    /// <summary>
    /// Open model: each interval has its own rate (arrivals a second), drawn evenly between two limits.
    /// </summary>
    public sealed record OpenRandom(double Min, double Max, TimeSpan Interval, Arrivals Arrivals, TimeSpan During) : LoadSimulation(During);

    /// <summary>
    /// Closed model: each of a number of copies starts again as soon as it is done. The number moves evenly from the
    /// first to the last.
    /// </summary>
    public sealed record Closed(int? From, int To, TimeSpan During) : LoadSimulation(During);

    /// <summary>A stretch without arrivals.</summary>
    public sealed record Quiet(TimeSpan During) : LoadSimulation(During);
}

/// <summary>
/// Creates stretches of load. Rates are arrivals per interval and may be fractional. A ramp begins where the stretch
/// before it ended (at 0 at the start, and after a pause or another model).
/// </summary>
public static class Simulation
{
    /// <summary>Keeps a constant rate.</summary>
    public static LoadSimulation Inject(double rate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even)
    {
        var perSecond = PerSecond(rate, interval);
        return new LoadSimulation.Open(perSecond, perSecond, arrivals, Length(during));
    }

    /// <summary>Moves from the rate of the stretch before to this rate.</summary>
    public static LoadSimulation RampingInject(double rate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even) =>
        new LoadSimulation.Open(null, PerSecond(rate, interval), arrivals, Length(during));

    /// <summary>Gives each interval a rate of its own between the two limits.</summary>
    public static LoadSimulation InjectRandom(double minRate, double maxRate, TimeSpan interval, TimeSpan during, Arrivals arrivals = Arrivals.Even)
    {
        if (minRate > maxRate) throw new ArgumentOutOfRangeException(nameof(minRate), minRate, $"The lower rate is above the upper, {maxRate}.");
        return new LoadSimulation.OpenRandom(PerSecond(minRate, interval), PerSecond(maxRate, interval), interval, arrivals, Length(during));
    }

    /// <summary>Keeps a constant number of copies.</summary>
    public static LoadSimulation KeepConstant(int copies, TimeSpan during) => new LoadSimulation.Closed(Copies(copies), copies, Length(during));

    /// <summary>Moves from the number of copies of the stretch before to this number.</summary>
    public static LoadSimulation RampingConstant(int copies, TimeSpan during) => new LoadSimulation.Closed(null, Copies(copies), Length(during));

    /// <summary>Lets nobody arrive. Copies under way go on to the end of their iteration.</summary>
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
