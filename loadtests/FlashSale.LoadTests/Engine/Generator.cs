namespace FlashSale.LoadTests.Engine;

/// <summary>Tells whether the generator produced the load that was meant.</summary>
public static class Generator
{
    /// <summary>
    /// Returns one line for each way in which the load differed from the intended one. Empty when it was the intended
    /// load.
    /// </summary>
    public static IEnumerable<string> FellBehind(ScenarioProps scenario, ScenarioStats stats)
    {
        var (generator, limits) = (stats.Generator, scenario.Limits);
        if (generator.Missed > generator.Intended * limits.MissedShare)
            yield return $"{stats.ScenarioName}: {generator.Missed:N0} of {generator.Intended:N0} arrivals were missed, with {generator.MaxInFlight:N0} copies in flight (at most {generator.CopiesCap:N0})";
        if (generator.Lag.Percent99 > limits.LagP99.TotalMilliseconds)
            yield return $"{stats.ScenarioName}: arrivals began late, p99 {generator.Lag.Percent99:0.0} ms (at most {limits.LagP99.TotalMilliseconds:0.0} ms)";
        if (generator.Unfinished > 0)
            yield return $"{stats.ScenarioName}: {generator.Unfinished:N0} iterations were not done {limits.CompletionTimeout.TotalSeconds:0} s after the load";
        if (stats.AllRequestCount == 0)
            yield return $"{stats.ScenarioName}: nothing ran";
    }
}

internal static class Figures
{
    public static ScenarioStats Of(ScenarioRun run) => run.Measurements.ToStats(run.Scenario.Name, run.IsOver ? run.Duration : run.Elapsed, run.Scenario.Limits.CopiesCap, run.Unfinished);
}
