using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>Names a copy of a scenario.</summary>
/// <param name="ScenarioName">Name of the scenario.</param>
/// <param name="InstanceId">Name of the copy, unique in the run.</param>
/// <param name="InstanceNumber">Number of the copy in its scenario, from 0. A copy that is done is used again for a
/// later arrival.</param>
/// <param name="ScenarioDuration">Intended length of the load.</param>
public sealed record ScenarioInfo(string ScenarioName, string InstanceId, int InstanceNumber, TimeSpan ScenarioDuration);

/// <summary>Facts about the current iteration, and its ways to end the run.</summary>
public interface IScenarioContext
{
    /// <summary>The copy that runs this iteration.</summary>
    ScenarioInfo ScenarioInfo { get; }

    /// <summary>Number of iterations that this copy has begun, including this one.</summary>
    long InvocationNumber { get; }

    /// <summary>Cancelled when the scenario is over and its copies have had their time to end.</summary>
    CancellationToken ScenarioCancellationToken { get; }

    /// <summary>Values of this iteration. Empty at its start.</summary>
    Dictionary<string, object> Data { get; }

    /// <summary>Random numbers of this copy. The same seed and copy give the same numbers.</summary>
    Random Random { get; }

    /// <summary>
    /// The moment at which this iteration should have begun, in ticks of <see cref="Stopwatch.GetTimestamp"/>.
    /// </summary>
    long IntendedStart { get; }

    /// <summary>Ends the named scenario early. The engine still awaits the iterations under way.</summary>
    void StopScenario(string scenarioName, string reason);

    /// <summary>Ends all scenarios early.</summary>
    void StopCurrentTest(string reason);
}

/// <summary>Input of the functions that prepare a scenario and clean up after it.</summary>
/// <param name="ScenarioName">Name of the scenario.</param>
/// <param name="Cancel">Cancelled when the run is broken off.</param>
public sealed record ScenarioInitContext(string ScenarioName, CancellationToken Cancel);

// A copy is a shopper that the engine can send again. Only one iteration of a copy runs at a time.
internal sealed class ScenarioContext(ScenarioRun run, ScenarioInfo info, int seed) : IScenarioContext, IThreadPoolWorkItem
{
    private Dictionary<string, object>? _data;

    // True until the first step has added the iteration's late start to its own latency.
    internal bool LateStep { get; set; }

    // A copy of the closed model begins its next iteration as soon as it is done.
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
