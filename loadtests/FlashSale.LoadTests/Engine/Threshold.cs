using System.Runtime.CompilerServices;

namespace FlashSale.LoadTests.Engine;

/// <summary>What a run's figures must hold; a run that breaks one ends with 1.</summary>
/// <param name="StepName">Of the step it is about; null for the scenario.</param>
/// <param name="Text">As written, for the reports.</param>
/// <param name="Check">Judges the figures of the scenario or step.</param>
/// <param name="AbortWhenErrorCount">Ends the scenario when a check under way has failed so often; null: only judged at the end.</param>
/// <param name="StartCheckAfter">Not judged under way before.</param>
public sealed record Threshold(string? StepName, string Text, Func<StepStats, bool> Check, int? AbortWhenErrorCount, TimeSpan StartCheckAfter)
{
    /// <summary>About a scenario.</summary>
    public static Threshold Create(Func<ScenarioStats, bool> checkScenario, int? abortWhenErrorCount = null, TimeSpan? startCheckAfter = null,
        [CallerArgumentExpression(nameof(checkScenario))] string text = "") =>
        new(null, text, stats => checkScenario((ScenarioStats)stats), abortWhenErrorCount, startCheckAfter ?? TimeSpan.Zero);

    /// <summary>About a step; broken when no such step ran.</summary>
    public static Threshold Create(string stepName, Func<StepStats, bool> checkStep, int? abortWhenErrorCount = null, TimeSpan? startCheckAfter = null,
        [CallerArgumentExpression(nameof(checkStep))] string text = "") =>
        new(stepName, text, checkStep, abortWhenErrorCount, startCheckAfter ?? TimeSpan.Zero);

    /// <summary>Whether the figures hold it.</summary>
    public bool Holds(ScenarioStats stats) =>
        StepName is null ? Check(stats) : stats.StepStats.FirstOrDefault(step => step.StepName == StepName) is { } found && Check(found);
}

/// <summary>How a threshold was met.</summary>
public sealed record ThresholdResult(string ScenarioName, string? StepName, string CheckExpression, bool IsFailed, int ErrorCount);
