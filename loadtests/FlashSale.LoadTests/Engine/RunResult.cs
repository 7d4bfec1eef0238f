namespace FlashSale.LoadTests.Engine;

/// <summary>What a judge outside the engine says of a run.</summary>
/// <param name="Violations">Promises that were broken, each with what it shows by.</param>
/// <param name="Inconclusive">Why it cannot be judged; empty when it can.</param>
/// <param name="Facts">More figures for the reports: what, how much.</param>
public sealed record RunVerdict(IReadOnlyList<string> Violations, IReadOnlyList<string> Inconclusive, IReadOnlyList<KeyValuePair<string, string>> Facts)
{
    /// <summary>Nothing to say.</summary>
    public static RunVerdict None { get; } = new([], [], []);
}

/// <summary>A run's figures and how they are judged.</summary>
/// <param name="TestSuite">What the run belongs to.</param>
/// <param name="TestName">Of the run.</param>
/// <param name="StartedAt">When the load began.</param>
/// <param name="Seed">Of all that is random: the same seed, the same arrivals.</param>
/// <param name="ScenarioStats">Of each scenario.</param>
/// <param name="Thresholds">Of all scenarios.</param>
/// <param name="BrokenOff">Why scenarios were ended early, if they were.</param>
/// <param name="FellBehind">In what the load was not the one that was meant; empty when it was.</param>
/// <param name="Verdict">What the judge outside the engine says.</param>
public sealed record RunResult(
    string TestSuite, string TestName, DateTimeOffset StartedAt, int Seed, IReadOnlyList<ScenarioStats> ScenarioStats, IReadOnlyList<ThresholdResult> Thresholds,
    IReadOnlyList<string> BrokenOff, IReadOnlyList<string> FellBehind, RunVerdict Verdict)
{
    /// <summary>Why the run says nothing; empty when it does.</summary>
    public IReadOnlyList<string> Inconclusive => [.. FellBehind, .. BrokenOff, .. Verdict.Inconclusive];

    /// <summary>Good and failed iterations of all scenarios.</summary>
    public long AllRequestCount => ScenarioStats.Sum(scenario => scenario.AllRequestCount);

    /// <summary>Good ones.</summary>
    public long AllOkCount => ScenarioStats.Sum(scenario => scenario.AllOkCount);

    /// <summary>Failed ones.</summary>
    public long AllFailCount => ScenarioStats.Sum(scenario => scenario.AllFailCount);

    /// <summary>
    /// Of the process. A broken promise is broken under whatever load: 1. Figures of a load that was not the one meant are no figures: 2, whatever the
    /// thresholds say. A broken threshold: 1.
    /// </summary>
    public int ExitCode =>
        Verdict.Violations.Count > 0 ? Engine.ExitCode.Broken
        : Inconclusive.Count > 0 ? Engine.ExitCode.Inconclusive
        : Thresholds.Any(threshold => threshold.IsFailed) ? Engine.ExitCode.Broken
        : Engine.ExitCode.Pass;
}

/// <summary>How the commands of this program end.</summary>
public static class ExitCode
{
    /// <summary>All held.</summary>
    public const int Pass = 0;

    /// <summary>A threshold or a promise was broken.</summary>
    public const int Broken = 1;

    /// <summary>The run says nothing: the generator fell behind, or there was nothing to judge.</summary>
    public const int Inconclusive = 2;

    /// <summary>The command line was not understood.</summary>
    public const int Usage = 64;
}
