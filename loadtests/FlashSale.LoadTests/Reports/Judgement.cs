using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>The judgement of a run in the words of all reports.</summary>
internal static class Judgement
{
    public static string Of(RunResult result) => result.ExitCode switch
    {
        ExitCode.Pass => "Passed",
        ExitCode.Broken => "Broken",
        _ => "Inconclusive",
    };

    public static IEnumerable<string> Lines(RunResult result) =>
        result.Verdict.Violations.Select(violation => $"violation: {violation}")
            .Concat(result.Inconclusive.Select(why => $"inconclusive: {why}"))
            .Concat(result.Thresholds.Where(threshold => threshold.IsFailed).Select(threshold => $"threshold broken: {threshold.ScenarioName}{(threshold.StepName is { } step ? $", {step}" : "")}: {threshold.CheckExpression}"));
}

/// <summary>The rows that all reports show.</summary>
internal static class Rows
{
    public sealed record Row(string Name, string From, long Count, double Rps, LatencyStats Latency);

    public static IEnumerable<Row> Of(ScenarioStats scenario) => scenario.StepStats.Prepend(scenario).SelectMany(Of);

    /// <summary>Returns the status codes of the iterations, then those of each step.</summary>
    public static IEnumerable<(string Name, StatusCodeStats Code)> Codes(ScenarioStats scenario) =>
        scenario.StepStats.Prepend(scenario).SelectMany(step => step.StatusCodes.Select(code => (step.StepName, code)));

    public static string Cells(LatencyStats latency, string between) =>
        string.Join(between, new[] { latency.Percent50, latency.Percent90, latency.Percent95, latency.Percent99, latency.Percent999, latency.MaxMs }.Select(ms => ms.ToString("0.00")));

    public static string Generator(ScenarioStats scenario)
    {
        var generator = scenario.Generator;
        return $"Generator: {generator.Intended:N0} arrivals due, {generator.Missed:N0} missed, {generator.Started:N0} iterations begun, {generator.Unfinished:N0} unfinished; " +
            $"arrivals began late by p50 {generator.Lag.Percent50:0.00} ms, p99 {generator.Lag.Percent99:0.00} ms, at most {generator.Lag.MaxMs:0.00} ms; up to {generator.MaxInFlight:N0} copies in flight (cap {generator.CopiesCap:N0}).";
    }

    private static IEnumerable<Row> Of(StepStats step)
    {
        yield return new Row($"{step.StepName}, ok", "from intended start", step.Ok.Request.Count, step.Ok.Request.RPS, step.Ok.Latency);
        yield return new Row($"{step.StepName}, ok", "from actual start", step.Ok.Request.Count, step.Ok.Request.RPS, step.Ok.ServiceTime);
        if (step.Fail.Request.Count == 0) yield break;
        yield return new Row($"{step.StepName}, failed", "from intended start", step.Fail.Request.Count, step.Fail.Request.RPS, step.Fail.Latency);
        yield return new Row($"{step.StepName}, failed", "from actual start", step.Fail.Request.Count, step.Fail.Request.RPS, step.Fail.ServiceTime);
    }
}
