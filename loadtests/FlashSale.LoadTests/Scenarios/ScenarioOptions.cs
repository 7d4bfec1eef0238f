namespace FlashSale.LoadTests.Scenarios;

/// <summary>Options of a scenario from the command line. The scenario decides on those that are missing.</summary>
public sealed record ScenarioOptions
{
    /// <summary>Arrivals a second. Each scenario documents the exact meaning.</summary>
    public double? Rate { get; init; }

    /// <summary>How long shoppers arrive.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>
    /// How long other shoppers buy in a sale of their own before the load, so that no host meets code it has not run
    /// yet.
    /// </summary>
    public TimeSpan WarmUp { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long to wait at the end until nothing is on its way.</summary>
    public TimeSpan Rest { get; init; } = TimeSpan.FromSeconds(120);
}
