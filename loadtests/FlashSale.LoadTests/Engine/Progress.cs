using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// Closes a stretch of each time line every second while a load runs, and prints progress at the reporting interval.
/// </summary>
internal static class Progress
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    public static async Task TellAsync(Task load, ScenarioRun[] runs, bool warmUp, TimeSpan interval, TextWriter console, Action check)
    {
        var said = Stopwatch.GetTimestamp();
        using var timer = new PeriodicTimer(Tick);
        var next = timer.WaitForNextTickAsync().AsTask();
        while (await Task.WhenAny(load, next) != load)
        {
            next = timer.WaitForNextTickAsync().AsTask();
            foreach (var run in runs) run.Measurements.Tick(run.Elapsed);
            check();
            if (Stopwatch.GetElapsedTime(said) < interval) continue;
            said = Stopwatch.GetTimestamp();
            foreach (var run in runs) await console.WriteLineAsync(Line(run, warmUp));
        }
        foreach (var run in runs) run.Measurements.Tick(run.Elapsed);
    }

    private static string Line(ScenarioRun run, bool warmUp)
    {
        var now = run.Measurements.ToStats(run.Scenario.Name, run.Elapsed, run.Scenario.Limits.CopiesCap, 0);
        var last = now.Timeline.Count > 0 ? now.Timeline[^1] : new TimelinePoint(0, 0, 0, 0, 0, 0, 0, 0);
        return $"{(warmUp ? "warm-up " : "")}{run.Scenario.Name} {run.Elapsed.TotalSeconds,5:0} s: {last.OkRps,8:N0} ok/s {last.FailRps,8:N0} failed/s  p50 {last.P50Ms:0.0} p99 {last.P99Ms:0.0} max {last.MaxMs:0.0} ms  " +
            $"in flight {last.InFlight:N0}  late p99 {now.Generator.Lag.Percent99:0.0} ms  missed {now.Generator.Missed:N0}";
    }
}
