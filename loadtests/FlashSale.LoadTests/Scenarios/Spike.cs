using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Sends all shoppers in the first second: RATE (50,000) a second for DURATION (1 s). Four in five can be served. They
/// wait for one of the load balancer's connections and come again until they know the outcome. One in fifty wants a
/// second unit, and must not get it.
/// </summary>
public sealed class Spike(ScenarioOptions options) : LoadScenario(options)
{
    private const string Sku = "spike-1";
    private const int OneInWantsMore = 50;

    private readonly double _rate = options.Rate ?? 50_000;
    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromSeconds(1);
    private (string User, byte[] Request)[] _shoppers = [];
    private int _next = -1;

    private int Shoppers => (int)Math.Max(1, _rate * _duration.TotalSeconds);

    public override IReadOnlyList<LoadItem> Items => [new(Sku, Math.Max(1, Shoppers * 4 / 5))];

    // A node always takes this many requests at once. So it turns no shopper away before the queue at the balancer.
    public override int Connections => 256;

    public override TimeSpan Patience => TimeSpan.FromSeconds(60);

    // Real tokens are made by a login service, long before the sale and on another machine. Here the generator makes
    // them beside the product, so it does that before the load.
    public override Task PrepareAsync(LoadRun run, CancellationToken cancel)
    {
        _shoppers = new (string, byte[])[Shoppers];
        Parallel.For(0, Shoppers, i =>
        {
            var user = run.NewUser();
            _shoppers[i] = (user, PurchaseRequest.Of(run.Target.Api, run.Sale.OrdersPath, run.Tokens.For(user), "first", Sku, 1));
        });
        return Task.CompletedTask;
    }

    public override ScenarioProps Describe(string name, LoadRun run) => Scenario.Create(name, context => ShopAsync(run, context))
        .WithoutWarmUp()
        .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration))
        // All shoppers may wait at once. Their starts may be late by half of the time in which they are due. Latency
        // counts from the moment at which each was due.
        .WithGeneratorLimits(new GeneratorLimits { CopiesCap = Shoppers + 1, LagP99 = _duration / 2, CompletionTimeout = Patience })
        .WithThresholds(Threshold.Create(stats => stats.AllFailCount == 0));

    public override void Judge(EndedRun ended) => ended.ExpectAllSold();

    private async Task<IResponse> ShopAsync(LoadRun run, IScenarioContext context)
    {
        var number = Interlocked.Increment(ref _next);
        // Rounding of fractions may give one arrival more.
        var (user, request) = _shoppers[number % _shoppers.Length];
        var told = await run.BuyAsync(context, user, "first", Sku, request: request);
        if (number % OneInWantsMore != 0 || !told.IsAccepted) return Answers.Of(told);
        var more = await run.BuyAsync(context, user, "second", Sku);
        return Answers.Expect(more, "purchase_limit_reached", "sold_out");
    }
}
