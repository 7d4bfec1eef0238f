namespace FlashSale.LoadTests.Scenarios;

/// <summary>What the command line says of a scenario; what it leaves open the scenario decides.</summary>
public sealed record ScenarioOptions
{
    /// <summary>Arrivals a second; what it means exactly each scenario says.</summary>
    public double? Rate { get; init; }

    /// <summary>How long they arrive.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>How long others buy in a sale of their own before it begins, so that no host meets code it has not run yet.</summary>
    public TimeSpan WarmUp { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long to wait for what is on its way at the end.</summary>
    public TimeSpan Rest { get; init; } = TimeSpan.FromSeconds(120);
}
