namespace FlashSale.LoadTests.Engine;

/// <summary>Describes what copies do, and how many of them.</summary>
public static class Scenario
{
    /// <summary>A scenario whose copies run this.</summary>
    public static ScenarioProps Create(string name, Func<IScenarioContext, Task<IResponse>> run) => new() { Name = Named(name), Run = run };

    /// <summary>A scenario that only prepares and cleans up.</summary>
    public static ScenarioProps Empty(string name) => new() { Name = Named(name), Run = null };

    private static string Named(string name) => name.Length > 0 ? name : throw new ArgumentException("A scenario has a name.", nameof(name));
}

/// <summary>A scenario, described. Each With… gives a changed copy.</summary>
public sealed record ScenarioProps
{
    /// <summary>Of the scenario.</summary>
    public required string Name { get; init; }

    internal Func<IScenarioContext, Task<IResponse>>? Run { get; init; }

    internal Func<ScenarioInitContext, Task>? Init { get; private init; }

    internal Func<ScenarioInitContext, Task>? Clean { get; private init; }

    internal TimeSpan WarmUp { get; private init; } = TimeSpan.FromSeconds(30);

    internal IReadOnlyList<LoadSimulation> Simulations { get; private init; } = [Simulation.KeepConstant(1, TimeSpan.FromMinutes(1))];

    internal IReadOnlyList<Threshold> Thresholds { get; private init; } = [];

    internal long MaxFailCount { get; private init; } = long.MaxValue;

    internal GeneratorLimits Limits { get; private init; } = new();

    /// <summary>Runs before the load.</summary>
    public ScenarioProps WithInit(Func<ScenarioInitContext, Task> init) => this with { Init = init };

    /// <summary>Runs after the load and its judgement, whatever came of them.</summary>
    public ScenarioProps WithClean(Func<ScenarioInitContext, Task> clean) => this with { Clean = clean };

    /// <summary>How long copies run before anything counts (default 30 s): at the rate, or with the copies, that the first simulation comes to. They are other copies than those of the load.</summary>
    public ScenarioProps WithWarmUpDuration(TimeSpan duration) =>
        this with { WarmUp = duration >= TimeSpan.Zero ? duration : throw new ArgumentOutOfRangeException(nameof(duration), duration, "A warm-up is not shorter than 0.") };

    /// <summary>Everything counts.</summary>
    public ScenarioProps WithoutWarmUp() => this with { WarmUp = TimeSpan.Zero };

    /// <summary>The load, one stretch after another. Without: one copy for a minute.</summary>
    public ScenarioProps WithLoadSimulations(params LoadSimulation[] simulations) =>
        this with { Simulations = simulations.Length > 0 ? simulations : throw new ArgumentException("A load has at least one simulation.", nameof(simulations)) };

    /// <summary>What the figures must hold.</summary>
    public ScenarioProps WithThresholds(params Threshold[] thresholds) => this with { Thresholds = thresholds };

    /// <summary>Ends the scenario early when so many iterations have failed; without: never.</summary>
    public ScenarioProps WithMaxFailCount(long count) => this with { MaxFailCount = count };

    /// <summary>What the generator may do, and from when on it counts as fallen behind.</summary>
    public ScenarioProps WithGeneratorLimits(GeneratorLimits limits) => this with { Limits = limits };
}

/// <summary>What the load generator may do, and from when on a run says nothing, because the load was not the one that was meant.</summary>
public sealed record GeneratorLimits
{
    /// <summary>The most open-model copies in flight: what arrivals that are not answered may pile up to.</summary>
    public int CopiesCap { get; init; } = 10_000;

    /// <summary>How long an arrival may wait for a copy when all are in flight, before it is missed. Its latency counts from when it was due.</summary>
    public TimeSpan Wait { get; init; } = TimeSpan.Zero;

    /// <summary>The 99th percentile of how late arrivals begin, above which the run is inconclusive.</summary>
    public TimeSpan LagP99 { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The share of missed arrivals above which the run is inconclusive.</summary>
    public double MissedShare { get; init; } = 0.001;

    /// <summary>How long copies in flight may take to end when the load is over, before they are cancelled.</summary>
    public TimeSpan CompletionTimeout { get; init; } = TimeSpan.FromSeconds(30);
}
