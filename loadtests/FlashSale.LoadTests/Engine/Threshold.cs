using System.Runtime.CompilerServices;

namespace FlashSale.LoadTests.Engine;

/// <summary>A condition that a run's figures must meet. A run that breaks one ends with exit code 1.</summary>
/// <param name="StepName">Name of the step, or null for the scenario.</param>
/// <param name="Text">The condition as written, for the reports.</param>
/// <param name="Check">Judges the figures of the scenario or step.</param>
/// <param name="AbortWhenErrorCount">Ends the scenario when this number of checks under way has failed. Null: the
/// condition is judged only at the end.</param>
/// <param name="StartCheckAfter">Time before the first check under way.</param>
public sealed record Threshold(string? StepName, string Text, Func<StepStats, bool> Check, int? AbortWhenErrorCount, TimeSpan StartCheckAfter)
{
    /// <summary>Creates a condition for the figures of a scenario.</summary>
    public static Threshold Create(Func<ScenarioStats, bool> checkScenario, int? abortWhenErrorCount = null, TimeSpan? startCheckAfter = null,
        [CallerArgumentExpression(nameof(checkScenario))] string text = "") =>
        new(null, text, stats => checkScenario((ScenarioStats)stats), abortWhenErrorCount, startCheckAfter ?? TimeSpan.Zero);

    /// <summary>Creates a condition for the figures of a step. It is broken when no such step ran.</summary>
    public static Threshold Create(string stepName, Func<StepStats, bool> checkStep, int? abortWhenErrorCount = null, TimeSpan? startCheckAfter = null,
        [CallerArgumentExpression(nameof(checkStep))] string text = "") =>
        new(stepName, text, checkStep, abortWhenErrorCount, startCheckAfter ?? TimeSpan.Zero);

    /// <summary>Returns whether the figures meet the condition.</summary>
    public bool Holds(ScenarioStats stats) =>
        StepName is null ? Check(stats) : stats.StepStats.FirstOrDefault(step => step.StepName == StepName) is { } found && Check(found);
}

/// <summary>The result of a threshold. The error count is the number of checks under way that failed.</summary>
public sealed record ThresholdResult(string ScenarioName, string? StepName, string CheckExpression, bool IsFailed, int ErrorCount);
