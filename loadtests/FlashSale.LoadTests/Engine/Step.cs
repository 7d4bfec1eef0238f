using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>A part of an iteration that is measured on its own.</summary>
public static class Step
{
    /// <summary>
    /// Runs a step and measures it. The latency of an iteration's first step counts from the moment at which the
    /// iteration should have begun, so a late start counts as latency there. An exception counts as a failure of the
    /// step and of the iteration.
    /// </summary>
    public static async Task<Response<T>> Run<T>(string name, IScenarioContext context, Func<Task<Response<T>>> run)
    {
        var copy = (ScenarioContext)context;
        var started = Stopwatch.GetTimestamp();
        var late = copy.LateStep ? started - Math.Min(copy.IntendedStart, started) : 0;
        copy.LateStep = false;
        Response<T>? response = null;
        try
        {
            return response = await run();
        }
        finally
        {
            var took = Stopwatch.GetTimestamp() - started;
            copy.Measurements.Step(name).Add(response ?? ScenarioRun.Threw, took + late, took);
        }
    }
}
