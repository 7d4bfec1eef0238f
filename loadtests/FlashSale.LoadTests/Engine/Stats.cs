namespace FlashSale.LoadTests.Engine;

/// <summary>Durations in milliseconds; percentiles are at most <see cref="Histogram.RelativeError"/> above the exact ones.</summary>
public sealed record LatencyStats(
    double MinMs, double MeanMs, double MaxMs, double StdDev, double Percent50, double Percent75, double Percent90, double Percent95, double Percent99, double Percent999,
    IReadOnlyList<PercentilePoint> Curve)
{
    private static readonly double[] OfCurve = [0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92.5, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.995, 99.999];

    internal static LatencyStats Of(Histogram microseconds) => new(
        microseconds.Min / 1e3, microseconds.Mean / 1e3, microseconds.Max / 1e3, microseconds.StandardDeviation / 1e3,
        microseconds.Percentile(0.5) / 1e3, microseconds.Percentile(0.75) / 1e3, microseconds.Percentile(0.9) / 1e3,
        microseconds.Percentile(0.95) / 1e3, microseconds.Percentile(0.99) / 1e3, microseconds.Percentile(0.999) / 1e3,
        [.. OfCurve.Select(percent => new PercentilePoint(percent, microseconds.Percentile(percent / 100) / 1e3))]);
}

/// <summary>So many percent took no longer than this.</summary>
public readonly record struct PercentilePoint(double Percent, double Ms);

/// <summary>How many: in all, a second of the load's duration, and as percent of all, failed ones included.</summary>
public sealed record RequestStats(long Count, double RPS, double Percent);

/// <summary>Sizes of the answers, in bytes.</summary>
public sealed record DataTransferStats(long MinBytes, double MeanBytes, long MaxBytes, long AllBytes);

/// <summary>How often a status code with a message occurred, and as percent of all.</summary>
public sealed record StatusCodeStats(string StatusCode, bool IsError, string Message, long Count, double Percent);

/// <summary>The good or the failed ones.</summary>
/// <param name="Request">How many.</param>
/// <param name="Latency">From the moment each should have begun: what a stalled server keeps from being sent counts as slow.</param>
/// <param name="ServiceTime">From the moment each did begin.</param>
/// <param name="DataTransfer">Sizes.</param>
public sealed record MeasurementStats(RequestStats Request, LatencyStats Latency, LatencyStats ServiceTime, DataTransferStats DataTransfer);

/// <summary>A step of a scenario, or (by the scenario's name) its whole iterations.</summary>
public record StepStats(string StepName, MeasurementStats Ok, MeasurementStats Fail, IReadOnlyList<StatusCodeStats> StatusCodes)
{
    /// <summary>Good and failed.</summary>
    public long AllRequestCount => Ok.Request.Count + Fail.Request.Count;
}

/// <summary>What the load generator itself did.</summary>
/// <param name="Intended">Arrivals that fell due (open model).</param>
/// <param name="Started">Iterations that began (either model).</param>
/// <param name="Missed">Arrivals that were not sent, because as many copies as may be were in flight.</param>
/// <param name="Unfinished">Iterations that were still not done when the time to end was over.</param>
/// <param name="MaxInFlight">The most copies that were in flight at once.</param>
/// <param name="CopiesCap">The most that may be.</param>
/// <param name="Lag">How late arrivals began.</param>
public sealed record GeneratorStats(long Intended, long Started, long Missed, long Unfinished, int MaxInFlight, int CopiesCap, LatencyStats Lag);

/// <summary>A stretch of the run. Percentiles of a stretch that was made of several are the worst of theirs.</summary>
/// <param name="AtSeconds">Its end, from the beginning of the load.</param>
/// <param name="OkRps">Good ones a second.</param>
/// <param name="FailRps">Failed ones a second.</param>
/// <param name="MissedRps">Missed arrivals a second.</param>
/// <param name="InFlight">Copies in flight at its end.</param>
/// <param name="P50Ms">Latency of the good ones from their intended start.</param>
/// <param name="P99Ms">The same.</param>
/// <param name="MaxMs">The same.</param>
public sealed record TimelinePoint(double AtSeconds, double OkRps, double FailRps, double MissedRps, int InFlight, double P50Ms, double P99Ms, double MaxMs);

/// <summary>A scenario's figures.</summary>
public sealed record ScenarioStats(
    string ScenarioName, TimeSpan Duration, MeasurementStats Ok, MeasurementStats Fail, IReadOnlyList<StatusCodeStats> StatusCodes, IReadOnlyList<StepStats> StepStats,
    GeneratorStats Generator, IReadOnlyList<TimelinePoint> Timeline) : StepStats(ScenarioName, Ok, Fail, StatusCodes)
{
    /// <summary>Good ones.</summary>
    public long AllOkCount => Ok.Request.Count;

    /// <summary>Failed ones.</summary>
    public long AllFailCount => Fail.Request.Count;

    /// <summary>Of all answers.</summary>
    public long AllBytes => Ok.DataTransfer.AllBytes + Fail.DataTransfer.AllBytes;

    /// <summary>The figures of a step.</summary>
    /// <exception cref="ArgumentException">No step of that name ran.</exception>
    public StepStats GetStepStats(string stepName) =>
        StepStats.FirstOrDefault(step => step.StepName == stepName) ?? throw new ArgumentException($"No step '{stepName}' ran in scenario '{ScenarioName}'.", nameof(stepName));
}

/// <summary>Finds figures by name.</summary>
public static class StatsLookup
{
    /// <summary>The figures of a scenario.</summary>
    /// <exception cref="ArgumentException">No scenario of that name ran.</exception>
    public static ScenarioStats Get(this IEnumerable<ScenarioStats> stats, string scenarioName) =>
        stats.FirstOrDefault(scenario => scenario.ScenarioName == scenarioName) ?? throw new ArgumentException($"No scenario '{scenarioName}' ran.", nameof(scenarioName));
}
