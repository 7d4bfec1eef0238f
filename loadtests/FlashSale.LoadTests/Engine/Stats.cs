namespace FlashSale.LoadTests.Engine;

/// <summary>
/// Durations in milliseconds. Percentiles are at most <see cref="Histogram.RelativeError"/> above the exact ones.
/// </summary>
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

/// <summary>The given percent of all took no longer than this number of milliseconds.</summary>
public readonly record struct PercentilePoint(double Percent, double Ms);

/// <summary>
/// Number of iterations or steps: in all, per second of the load's duration, and as percent of all, failed ones
/// included.
/// </summary>
public sealed record RequestStats(long Count, double RPS, double Percent);

/// <summary>Sizes of the answers, in bytes.</summary>
public sealed record DataTransferStats(long MinBytes, double MeanBytes, long MaxBytes, long AllBytes);

/// <summary>Number of results with a status code and a message, and their percent of all.</summary>
public sealed record StatusCodeStats(string StatusCode, bool IsError, string Message, long Count, double Percent);

/// <summary>Figures of the successful or of the failed iterations or steps.</summary>
/// <param name="Request">Their number.</param>
/// <param name="Latency">Time from the moment at which each should have begun. A request that a stalled server keeps
/// from being sent counts as slow.</param>
/// <param name="ServiceTime">Time from the moment at which each did begin.</param>
/// <param name="DataTransfer">Sizes of the answers.</param>
public sealed record MeasurementStats(RequestStats Request, LatencyStats Latency, LatencyStats ServiceTime, DataTransferStats DataTransfer);

/// <summary>Figures of a step of a scenario, or of its whole iterations under the scenario's name.</summary>
public record StepStats(string StepName, MeasurementStats Ok, MeasurementStats Fail, IReadOnlyList<StatusCodeStats> StatusCodes)
{
    /// <summary>Number of successful and failed iterations or steps.</summary>
    public long AllRequestCount => Ok.Request.Count + Fail.Request.Count;
}

/// <summary>Figures of the load generator itself.</summary>
/// <param name="Intended">Arrivals that fell due (open model).</param>
/// <param name="Started">Iterations that began (either model).</param>
/// <param name="Missed">Arrivals that were not sent, because the most permitted copies were in flight.</param>
/// <param name="Unfinished">Iterations that were still running when their time to end was over.</param>
/// <param name="MaxInFlight">The most copies in flight at once.</param>
/// <param name="CopiesCap">The most copies permitted in flight.</param>
/// <param name="Lag">Delay of the starts.</param>
public sealed record GeneratorStats(long Intended, long Started, long Missed, long Unfinished, int MaxInFlight, int CopiesCap, LatencyStats Lag);

/// <summary>A stretch of the run. The percentiles of merged stretches are the worst of the parts.</summary>
/// <param name="AtSeconds">End of the stretch, in seconds from the beginning of the load.</param>
/// <param name="OkRps">Successful iterations a second.</param>
/// <param name="FailRps">Failed iterations a second.</param>
/// <param name="MissedRps">Missed arrivals a second.</param>
/// <param name="InFlight">Copies in flight at the end of the stretch.</param>
/// <param name="P50Ms">Median latency of the successful iterations from their intended start.</param>
/// <param name="P99Ms">99th percentile of the same latency.</param>
/// <param name="MaxMs">Maximum of the same latency.</param>
public sealed record TimelinePoint(double AtSeconds, double OkRps, double FailRps, double MissedRps, int InFlight, double P50Ms, double P99Ms, double MaxMs);

public sealed record ScenarioStats(
    string ScenarioName, TimeSpan Duration, MeasurementStats Ok, MeasurementStats Fail, IReadOnlyList<StatusCodeStats> StatusCodes, IReadOnlyList<StepStats> StepStats,
    GeneratorStats Generator, IReadOnlyList<TimelinePoint> Timeline) : StepStats(ScenarioName, Ok, Fail, StatusCodes)
{
    /// <summary>Number of successful iterations.</summary>
    public long AllOkCount => Ok.Request.Count;

    /// <summary>Number of failed iterations.</summary>
    public long AllFailCount => Fail.Request.Count;

    /// <summary>Bytes of all answers.</summary>
    public long AllBytes => Ok.DataTransfer.AllBytes + Fail.DataTransfer.AllBytes;

    /// <summary>Returns the figures of a step.</summary>
    /// <exception cref="ArgumentException">No step of that name ran.</exception>
    public StepStats GetStepStats(string stepName) =>
        StepStats.FirstOrDefault(step => step.StepName == stepName) ?? throw new ArgumentException($"No step '{stepName}' ran in scenario '{ScenarioName}'.", nameof(stepName));
}

public static class StatsLookup
{
    /// <summary>Returns the figures of a scenario.</summary>
    /// <exception cref="ArgumentException">No scenario of that name ran.</exception>
    public static ScenarioStats Get(this IEnumerable<ScenarioStats> stats, string scenarioName) =>
        stats.FirstOrDefault(scenario => scenario.ScenarioName == scenarioName) ?? throw new ArgumentException($"No scenario '{scenarioName}' ran.", nameof(scenarioName));
}
