using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Keeps a steady RATE (500/s) for DURATION (10 minutes), during which nothing may grow, fade or leak. Most shoppers
/// buy. Some send their purchase again, look at their order, or cancel it, and its unit is sold again.
/// </summary>
public sealed class Soak(ScenarioOptions options) : LoadScenario(options)
{
    private const string Sku = "soak-1";

    private readonly double _rate = options.Rate ?? 500;
    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromMinutes(10);

    // The stock is enough for every shopper, even without the cancelled units.
    public override IReadOnlyList<LoadItem> Items => [new(Sku, (int)(_rate * _duration.TotalSeconds * 1.1) + 100)];

    public override ScenarioProps Describe(string name, LoadRun run) => Scenario.Create(name, context => ShopAsync(run, context))
        .WithoutWarmUp()
        .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration, Arrivals.Poisson))
        .WithThresholds(Threshold.Create(stats => stats.Fail.Request.Percent <= 0.1), Threshold.Create("buy", step => step.Ok.Latency.Percent99 < 1_000));

    private static async Task<IResponse> ShopAsync(LoadRun run, IScenarioContext context)
    {
        var user = run.NewUser();
        var told = await run.BuyAsync(context, user, "only", Sku);
        if (!told.IsAccepted) return Answers.Expect(told, "202");
        var orders = new OrderSteps(run, context, user, told.OrderId);
        return context.Random.Next(20) switch
        {
            0 => Answers.Expect(await run.BuyAsync(context, user, "only", Sku), "202"),
            1 => await orders.PlacedAsync() ? Answers.Of(told) : Response.Fail("not placed"),
            2 => await orders.PlacedAsync() && await orders.CancelAsync() ? Answers.Of(told) : Response.Fail("not cancelled"),
            _ => Answers.Of(told),
        };
    }
}
