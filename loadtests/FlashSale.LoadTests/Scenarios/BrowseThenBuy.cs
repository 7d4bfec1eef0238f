using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Simulates whole visits, RATE a second (50) for DURATION (30 s): the list, the sale's page, a moment's thought, a
/// purchase, and the wait until the order is stored. Half of the visitors look again and again, half listen to the
/// event stream. Where the target has a payment sandbox, they also pay and wait for the payment.
/// </summary>
public sealed class BrowseThenBuy(ScenarioOptions options) : LoadScenario(options)
{
    private const string Sku = "browse-1";
    private const double MeanThought = 0.4;

    private readonly double _rate = options.Rate ?? 50;
    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromSeconds(30);

    public override IReadOnlyList<LoadItem> Items => [new(Sku, (int)(_rate * _duration.TotalSeconds * 1.1) + 100)];

    public override ScenarioProps Describe(string name, LoadRun run) => Scenario.Create(name, context => VisitAsync(run, context))
        .WithoutWarmUp()
        .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration, Arrivals.Poisson))
        .WithGeneratorLimits(new GeneratorLimits { CompletionTimeout = TimeSpan.FromSeconds(90) })
        .WithThresholds(Threshold.Create(stats => stats.Fail.Request.Percent <= 0.1), Threshold.Create("buy", step => step.Ok.Latency.Percent99 < 1_000));

    private static async Task<IResponse> VisitAsync(LoadRun run, IScenarioContext context)
    {
        if (!await LookAsync(run, context, "list", "/api/v1/sales") || !await LookAsync(run, context, "page", $"/api/v1/sales/{run.Sale.Id}")) return Response.Fail("no page");
        await Task.Delay(TimeSpan.FromSeconds(Math.Min(3, -Math.Log(1 - context.Random.NextDouble()) * MeanThought)), context.ScenarioCancellationToken);
        var user = run.NewUser();
        var told = await run.BuyAsync(context, user, "visit", Sku);
        if (!told.IsAccepted) return Answers.Expect(told, "202");
        var orders = new OrderSteps(run, context, user, told.OrderId);
        var listens = context.Random.Next(2) == 0;
        if (!(listens ? await orders.ToldAsync("order placed, told", "pending_payment", "paid") : await orders.PlacedAsync())) return Response.Fail("not placed");
        if (run.Target.Payments is null) return Answers.Of(told);
        if (!await orders.PayAsync()) return Response.Fail("cannot pay");
        return (listens ? await orders.ToldAsync("order paid, told", "paid") : await orders.PaidAsync()) ? Answers.Of(told) : Response.Fail("not paid");
    }

    private static async Task<bool> LookAsync(LoadRun run, IScenarioContext context, string step, string path)
    {
        var seen = await Step.Run(step, context, async () =>
        {
            var answer = await run.Wire.SendAsync(PurchaseRequest.Plain(run.Target.Api, "GET", path, token: null), run.Patience, context.ScenarioCancellationToken);
            return answer.Status == 200 ? Response.Ok("200", answer.Body.Length) : Response.Fail($"{answer.Status}");
        });
        return !seen.IsError;
    }
}
