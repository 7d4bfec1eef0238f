using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Sells a thousand units to RATE shoppers a second (8,000) for DURATION (15 s), nearly all in vain. Refusals must be
/// quick and right.
/// </summary>
public sealed class SoldOutStorm(ScenarioOptions options) : LoadScenario(options)
{
    private const string Sku = "storm-1";

    private readonly double _rate = options.Rate ?? 8_000;
    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromSeconds(15);

    public override IReadOnlyList<LoadItem> Items => [new(Sku, (int)Math.Clamp(_rate * _duration.TotalSeconds / 2, 1, 1_000))];

    public override ScenarioProps Describe(string name, LoadRun run) => Scenario.Create(name, async context => Answers.Of(await run.BuyAsync(context, run.NewUser(), "only", Sku)))
        .WithoutWarmUp()
        .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration, Arrivals.Poisson))
        .WithGeneratorLimits(new GeneratorLimits { CopiesCap = 20_000 })
        .WithThresholds(Threshold.Create(stats => stats.AllFailCount == 0), Threshold.Create("buy", step => step.Ok.Latency.Percent99 < 1_000));

    public override void Judge(EndedRun ended) => ended.ExpectAllSold();
}
