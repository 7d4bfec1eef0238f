using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Few users with many keys send RATE requests a second (2,000) for DURATION (20 s): new keys beyond the limits of item
/// and sale, keys sent twice at once, replays, keys used for another purchase, forged tokens. They must get the units
/// that they may have once, and nothing else.
/// </summary>
public sealed class Bots(ScenarioOptions options) : LoadScenario(options)
{
    private const int Users = 20;
    private static readonly string[] Skus = ["bots-1", "bots-2"];

    // Every shopper may get these refusals at any time.
    private static readonly string[] Refusals = ["rate_limited", "overloaded", "temporarily_unavailable"];

    private readonly double _rate = options.Rate ?? 2_000;
    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromSeconds(20);
    private int _keys;

    public override IReadOnlyList<LoadItem> Items => [.. Skus.Select(sku => new LoadItem(sku, 1_000, PerUserLimit: 5))];

    /// <summary>The sale's limit is below the sum of the items' limits.</summary>
    public override int? PerUserLimit => 8;

    public override ScenarioProps Describe(string name, LoadRun run) => Scenario.Create(name, context => TryAsync(run, context))
        .WithoutWarmUp()
        .WithLoadSimulations(Simulation.Inject(_rate, TimeSpan.FromSeconds(1), _duration, Arrivals.Poisson))
        .WithThresholds(Threshold.Create(stats => stats.AllFailCount == 0));

    private Task<IResponse> TryAsync(LoadRun run, IScenarioContext context)
    {
        var user = $"{run.Sale.Id}-bot-{context.Random.Next(Users)}";
        var sku = Skus[context.Random.Next(Skus.Length)];
        return context.Random.Next(20) switch
        {
            < 8 => BuyAsync(run, context, user, sku),
            < 9 => BuyTwiceAtOnceAsync(run, context, user, sku),
            < 14 => ReplayAsync(run, context, isSame: true),
            < 17 => ReplayAsync(run, context, isSame: false),
            _ => ForgeAsync(run, context, user, sku),
        };
    }

    private async Task<IResponse> BuyAsync(LoadRun run, IScenarioContext context, string user, string sku)
    {
        var told = await run.BuyAsync(context, user, $"key-{Interlocked.Increment(ref _keys)}", sku, quantity: 1 + context.Random.Next(2));
        return Answers.Expect(told, [.. Refusals, "202", "purchase_limit_reached", "sold_out"]);
    }

    private async Task<IResponse> BuyTwiceAtOnceAsync(LoadRun run, IScenarioContext context, string user, string sku)
    {
        var key = $"key-{Interlocked.Increment(ref _keys)}";
        var both = await Task.WhenAll(run.BuyAsync(context, user, key, sku), run.BuyAsync(context, user, key, sku));
        return Answers.Expect(both[1], [.. Refusals, "202", "purchase_limit_reached", "sold_out"]);
    }

    // The judge checks that the same key gets the same bytes, and never one order more.
    private static async Task<IResponse> ReplayAsync(LoadRun run, IScenarioContext context, bool isSame)
    {
        if (run.AnyAccepted(context.Random) is not { } first) return Response.Ok();
        var told = default(Told);
        await Step.Run(isSame ? "replay" : "reuse", context, async () =>
        {
            told = await run.AskAsync(first.UserId, first.Key, first.Sku, context.ScenarioCancellationToken, first.Quantity + (isSame ? 0 : 1));
            return Answers.Expect(told, [.. Refusals, isSame ? "202" : "idempotency_key_reused"]);
        });
        if (!isSame && told.IsAccepted) run.Report("I5", $"{first.UserId}, {first.Key} was accepted for another purchase as well");
        return Answers.Expect(told, [.. Refusals, isSame ? "202" : "idempotency_key_reused"]);
    }

    private async Task<IResponse> ForgeAsync(LoadRun run, IScenarioContext context, string user, string sku)
    {
        var told = default(Told);
        await Step.Run("forged token", context, async () =>
        {
            told = await run.AskAsync(user, $"forged-{Interlocked.Increment(ref _keys)}", sku, context.ScenarioCancellationToken, token: run.Tokens.Forged(user));
            return Answers.Expect(told, [.. Refusals, "unauthenticated"]);
        });
        if (told.IsAccepted) run.Report("I4", $"a forged token of {user} bought {told.OrderId}");
        return Answers.Expect(told, [.. Refusals, "unauthenticated"]);
    }
}
