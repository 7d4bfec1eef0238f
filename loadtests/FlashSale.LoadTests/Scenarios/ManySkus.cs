using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Sells 10,000 items of 50 units each. Shoppers want them by Zipf's law (the n-th one n-th as often as the first):
/// RATE a second (4,000) for DURATION (20 s).
/// </summary>
public sealed class ManySkus : LoadScenario
{
    private const int Count = 10_000;

    private readonly double _rate;
    private readonly TimeSpan _duration;
    private readonly string[] _skus = [.. Enumerable.Range(1, Count).Select(n => $"sku-{n:D5}")];
    private readonly double[] _upTo = new double[Count];

    public ManySkus(ScenarioOptions options) : base(options)
    {
        _rate = options.Rate ?? 4_000;
        _duration = options.Duration ?? TimeSpan.FromSeconds(20);
        double sum = 0;
        for (var i = 0; i < Count; i++) _upTo[i] = sum += 1.0 / (i + 1);
    }

    public override IReadOnlyList<LoadItem> Items => [.. _skus.Select(sku => new LoadItem(sku, 50))];

    public override ScenarioProps Describe(string name, LoadRun run) =>
        Scenario.Create(name, async context => Answers.Of(await run.BuyAsync(context, run.NewUser(), "only", Pick(context.Random))))
            .WithoutWarmUp()
            .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration, Arrivals.Poisson))
            .WithThresholds(Threshold.Create(stats => stats.AllFailCount == 0), Threshold.Create("buy", step => step.Ok.Latency.Percent99 < 1_000));

    private string Pick(Random random)
    {
        var at = Array.BinarySearch(_upTo, random.NextDouble() * _upTo[^1]);
        return _skus[Math.Min(at < 0 ? ~at : at, Count - 1)];
    }
}
