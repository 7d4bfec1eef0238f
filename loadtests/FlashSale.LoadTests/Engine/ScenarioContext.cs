using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>Which copy of which scenario.</summary>
/// <param name="ScenarioName">Of the scenario.</param>
/// <param name="InstanceId">Unique in the run.</param>
/// <param name="InstanceNumber">From 0 on, in the scenario; a copy that is done is used again for a later arrival.</param>
/// <param name="ScenarioDuration">How long the load lasts.</param>
public sealed record ScenarioInfo(string ScenarioName, string InstanceId, int InstanceNumber, TimeSpan ScenarioDuration);

/// <summary>What an iteration knows of itself.</summary>
public interface IScenarioContext
{
    /// <summary>Which copy this is.</summary>
    ScenarioInfo ScenarioInfo { get; }

    /// <summary>How many iterations this copy has begun, this one included.</summary>
    long InvocationNumber { get; }

    /// <summary>Ends when the scenario is over and its copies have had their time to end.</summary>
    CancellationToken ScenarioCancellationToken { get; }

    /// <summary>Of this iteration; empty at its start.</summary>
    Dictionary<string, object> Data { get; }

    /// <summary>Of this copy; the same numbers again with the same seed and copy.</summary>
    Random Random { get; }

    /// <summary>When this iteration should have begun, in ticks of <see cref="Stopwatch.GetTimestamp"/>.</summary>
    long IntendedStart { get; }

    /// <summary>Ends the scenario early; what is under way is still awaited.</summary>
    void StopScenario(string scenarioName, string reason);

    /// <summary>Ends all scenarios early.</summary>
    void StopCurrentTest(string reason);
}

/// <summary>What a scenario knows before it begins, and when it has ended.</summary>
/// <param name="ScenarioName">Of the scenario.</param>
/// <param name="Cancel">Ends when the run is broken off.</param>
public sealed record ScenarioInitContext(string ScenarioName, CancellationToken Cancel);

// One copy: a shopper who can be sent again. Only one iteration of it runs at a time.
internal sealed class ScenarioContext(ScenarioRun run, ScenarioInfo info, int seed) : IScenarioContext, IThreadPoolWorkItem
{
    private Dictionary<string, object>? _data;

    // True until a step has taken over how late the iteration began.
    internal bool LateStep { get; set; }

    // Begins again as soon as it is done.
    internal bool GoesRound { get; set; }

    public ScenarioInfo ScenarioInfo => info;

    public long InvocationNumber { get; private set; }

    public CancellationToken ScenarioCancellationToken => run.Cancel;

    public Dictionary<string, object> Data => _data ??= [];

    public Random Random { get; } = new(seed);

    public long IntendedStart { get; internal set; }

    internal long ActualStart { get; private set; }

    internal ScenarioMeasurements Measurements => run.Measurements;

    public void StopScenario(string scenarioName, string reason) => run.Stop(scenarioName, reason);

    public void StopCurrentTest(string reason) => run.Stop(null, reason);

    public void Execute() => _ = run.IterateAsync(this);

    internal void Begin()
    {
        InvocationNumber++;
        _data?.Clear();
        LateStep = true;
        ActualStart = Stopwatch.GetTimestamp();
    }
}
