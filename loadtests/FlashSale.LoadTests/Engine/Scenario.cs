namespace FlashSale.LoadTests.Engine;

/// <summary>Creates descriptions of scenarios.</summary>
public static class Scenario
{
    /// <summary>Creates a scenario. Its copies run the given function.</summary>
    public static ScenarioProps Create(string name, Func<IScenarioContext, Task<IResponse>> run) => new() { Name = Named(name), Run = run };

    /// <summary>Creates a scenario that only prepares and cleans up.</summary>
    public static ScenarioProps Empty(string name) => new() { Name = Named(name), Run = null };

    private static string Named(string name) => name.Length > 0 ? name : throw new ArgumentException("A scenario has a name.", nameof(name));
}

/// <summary>Describes a scenario. Each With… method returns a changed copy of the description.</summary>
public sealed record ScenarioProps
{
    public required string Name { get; init; }

    internal Func<IScenarioContext, Task<IResponse>>? Run { get; init; }

    internal Func<ScenarioInitContext, Task>? Init { get; private init; }

    internal Func<ScenarioInitContext, Task>? Clean { get; private init; }

    internal TimeSpan WarmUp { get; private init; } = TimeSpan.FromSeconds(30);

    internal IReadOnlyList<LoadSimulation> Simulations { get; private init; } = [Simulation.KeepConstant(1, TimeSpan.FromMinutes(1))];

    internal IReadOnlyList<Threshold> Thresholds { get; private init; } = [];

    internal long MaxFailCount { get; private init; } = long.MaxValue;

    internal GeneratorLimits Limits { get; private init; } = new();

    /// <summary>Sets the function that runs before the warm-up and the load.</summary>
    public ScenarioProps WithInit(Func<ScenarioInitContext, Task> init) => this with { Init = init };

    /// <summary>Sets the function that runs after the load and its judgement, also after failures.</summary>
    public ScenarioProps WithClean(Func<ScenarioInitContext, Task> clean) => this with { Clean = clean };

    /// <summary>
    /// Sets how long copies run before anything counts (default 30 s). They run at the rate, or in the number, that the
    /// first simulation comes to. The load itself uses new copies.
    /// </summary>
    public ScenarioProps WithWarmUpDuration(TimeSpan duration) =>
        this with { WarmUp = duration >= TimeSpan.Zero ? duration : throw new ArgumentOutOfRangeException(nameof(duration), duration, "A warm-up is not shorter than 0.") };

    /// <summary>Runs no warm-up, so every iteration counts.</summary>
    public ScenarioProps WithoutWarmUp() => this with { WarmUp = TimeSpan.Zero };

    /// <summary>Sets the load, one stretch after another. Without it one copy runs for a minute.</summary>
    public ScenarioProps WithLoadSimulations(params LoadSimulation[] simulations) =>
        this with { Simulations = simulations.Length > 0 ? simulations : throw new ArgumentException("A load has at least one simulation.", nameof(simulations)) };

    /// <summary>Sets the conditions that the figures must meet.</summary>
    public ScenarioProps WithThresholds(params Threshold[] thresholds) => this with { Thresholds = thresholds };

    /// <summary>
    /// Ends the scenario early after this number of failed iterations. Without it failures never end the scenario.
    /// </summary>
    public ScenarioProps WithMaxFailCount(long count) => this with { MaxFailCount = count };

    /// <summary>Sets the limits of the generator, and the limits beyond which it counts as fallen behind.</summary>
    public ScenarioProps WithGeneratorLimits(GeneratorLimits limits) => this with { Limits = limits };
}

/// <summary>
/// Limits of the load generator. Beyond some of them the run proves nothing, because the load was not the intended one.
/// </summary>
public sealed record GeneratorLimits
{
    /// <summary>The most open-model copies in flight. Unanswered arrivals pile up to this number.</summary>
    public int CopiesCap { get; init; } = 10_000;

    /// <summary>
    /// How long an arrival may wait for a free copy before it counts as missed. Its latency counts from the moment it
    /// was due.
    /// </summary>
    public TimeSpan Wait { get; init; } = TimeSpan.Zero;

    /// <summary>The highest 99th percentile of late starts. Above it the run is inconclusive.</summary>
    public TimeSpan LagP99 { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The highest share of missed arrivals. Above it the run is inconclusive.</summary>
    public double MissedShare { get; init; } = 0.001;

    /// <summary>How long copies in flight may take to end after the load. Then they are cancelled.</summary>
    public TimeSpan CompletionTimeout { get; init; } = TimeSpan.FromSeconds(30);
}
