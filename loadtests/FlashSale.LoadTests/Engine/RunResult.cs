namespace FlashSale.LoadTests.Engine;

/// <summary>The verdict of a judge outside the engine.</summary>
/// <param name="Violations">The broken promises, each with its evidence.</param>
/// <param name="Inconclusive">The reasons why the run cannot be judged. Empty when it can.</param>
/// <param name="Facts">More figures for the reports, by name.</param>
public sealed record RunVerdict(IReadOnlyList<string> Violations, IReadOnlyList<string> Inconclusive, IReadOnlyList<KeyValuePair<string, string>> Facts)
{
    /// <summary>A verdict without any finding.</summary>
    public static RunVerdict None { get; } = new([], [], []);
}

/// <summary>The figures of a run and its judgement.</summary>
/// <param name="TestSuite">Name of the suite that the run belongs to.</param>
/// <param name="TestName">Name of the run.</param>
/// <param name="StartedAt">The time at which the load began.</param>
/// <param name="Seed">Seed of everything random. The same seed gives the same arrivals.</param>
/// <param name="ScenarioStats">The figures of each scenario.</param>
/// <param name="Thresholds">The thresholds of all scenarios, judged.</param>
/// <param name="BrokenOff">The reasons why scenarios ended early. Empty when they did not.</param>
/// <param name="FellBehind">The differences between this load and the intended one. Empty when it was the intended
/// one.</param>
/// <param name="Verdict">The verdict of the judge outside the engine.</param>
public sealed record RunResult(
    string TestSuite, string TestName, DateTimeOffset StartedAt, int Seed, IReadOnlyList<ScenarioStats> ScenarioStats, IReadOnlyList<ThresholdResult> Thresholds,
    IReadOnlyList<string> BrokenOff, IReadOnlyList<string> FellBehind, RunVerdict Verdict)
{
    /// <summary>The reasons why the run proves nothing. Empty when it is conclusive.</summary>
    public IReadOnlyList<string> Inconclusive => [.. FellBehind, .. BrokenOff, .. Verdict.Inconclusive];

    /// <summary>Number of successful and failed iterations of all scenarios.</summary>
    public long AllRequestCount => ScenarioStats.Sum(scenario => scenario.AllRequestCount);

    /// <summary>Number of successful iterations of all scenarios.</summary>
    public long AllOkCount => ScenarioStats.Sum(scenario => scenario.AllOkCount);

    /// <summary>Number of failed iterations of all scenarios.</summary>
    public long AllFailCount => ScenarioStats.Sum(scenario => scenario.AllFailCount);

    /// <summary>
    /// Exit code of the process. A broken promise is broken under any load, so it gives 1. Figures of a load that was
    /// not the intended one mean nothing. They give 2, even if a threshold is broken. Otherwise a broken threshold
    /// gives 1.
    /// </summary>
    public int ExitCode =>
        Verdict.Violations.Count > 0 ? Engine.ExitCode.Broken
        : Inconclusive.Count > 0 ? Engine.ExitCode.Inconclusive
        : Thresholds.Any(threshold => threshold.IsFailed) ? Engine.ExitCode.Broken
        : Engine.ExitCode.Pass;
}

/// <summary>Exit codes of this program's commands.</summary>
public static class ExitCode
{
    /// <summary>All promises and thresholds held.</summary>
    public const int Pass = 0;

    /// <summary>A threshold or a promise was broken.</summary>
    public const int Broken = 1;

    /// <summary>The run proves nothing: the generator fell behind, or there was nothing to judge.</summary>
    public const int Inconclusive = 2;

    /// <summary>The command line was not understood.</summary>
    public const int Usage = 64;
}
