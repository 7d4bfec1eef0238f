using System.Diagnostics;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Raises the number of shoppers from 1 times to 10 times and back, in DURATION (60 s). At 1 times 400 shoppers on a
/// connection each ask for RATE purchases a second in all (four fifths of the rate that the target reaches in a short
/// probe), each after a Poisson clock. A shopper that is made to wait comes later, as people do.
/// I8: At 10 times the goodput is at least 90 % of the best that the same shoppers had in any few seconds until then.
/// No shopper is served late, memory does not grow, and the product is itself again within 30 s.
/// </summary>
public sealed class OverloadAndBack(ScenarioOptions options) : LoadScenario(options)
{
    private const string Sku = "overload-1";
    private const int Once = 400;
    private const int Times = 10;
    private const double ShareOfCapacity = 0.8;
    private const double LeastGoodput = 0.9;
    private const int MostRecoverySeconds = 30;
    private const double MostSlower = 4;
    private const double QuickMs = 250;
    private const double MostGrowth = 1.25;
    private const double MostSlowdown = 1.1;
    private const int LeastQuarter = 4;
    private const int MostOthersPercent = 10;

    private static readonly TimeSpan Probe = TimeSpan.FromSeconds(4);

    private readonly TimeSpan _duration = options.Duration ?? TimeSpan.FromSeconds(60);
    private double _rate = options.Rate ?? 0;
    private double _probed;
    private MemoryCurve? _memory;
    private MachineSpeed? _speed;

    // Half of the time goes to the two stretches at 1 times, a quarter to 10 times, a quarter to the ramps.
    private double Quarter => _duration.TotalSeconds / 4;

    // The stretch at 10 times begins one second later here, because its first second does not count.
    private double HighFrom => 1.5 * Quarter + 1;

    private double HighUntil => 2.5 * Quarter;

    // The best stretch is as long as a ramp.
    private int BestSeconds => (int)(Quarter / 2);

    // This stock is more than any two cores sell in that time.
    public override IReadOnlyList<LoadItem> Items => [new(Sku, 1_000_000 + (int)(50_000 * _duration.TotalSeconds))];

    public override int Connections => Once * Times;

    public override async Task PrepareAsync(LoadRun run, CancellationToken cancel)
    {
        if (run.Target.Processes.TryGetValue("api", out var api)) _memory = new MemoryCurve(api);
        _speed = new MachineSpeed();
        if (_rate > 0) return;
        var accepted = 0L;
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 128).Select(async _ =>
        {
            while (Stopwatch.GetElapsedTime(began) < Probe)
            {
                if ((await run.AskAsync(run.NewUser(), "probe", Sku, cancel)).IsAccepted) Interlocked.Increment(ref accepted);
            }
        }));
        _probed = accepted / Probe.TotalSeconds;
        _rate = Math.Max(1, ShareOfCapacity * _probed);
    }

    public override ScenarioProps Describe(string name, LoadRun run)
    {
        return Scenario.Create(name, ShopAsync)
            .WithoutWarmUp()
            .WithLoadSimulations(
                Simulation.KeepConstant(Once, TimeSpan.FromSeconds(Quarter)), Simulation.RampingConstant(Once * Times, TimeSpan.FromSeconds(Quarter / 2)),
                Simulation.KeepConstant(Once * Times, TimeSpan.FromSeconds(Quarter)), Simulation.RampingConstant(Once, TimeSpan.FromSeconds(Quarter / 2)),
                Simulation.KeepConstant(Once, TimeSpan.FromSeconds(Quarter)));

        async Task<IResponse> ShopAsync(IScenarioContext context)
        {
            await Task.Delay(TimeSpan.FromSeconds(-Math.Log(1 - context.Random.NextDouble()) * Once / _rate), CancellationToken.None);
            var user = run.NewUser();
            var told = default(Told);
            await Step.Run("buy", context, async () => Answers.Expect(told = await run.AskAsync(user, "only", Sku, context.ScenarioCancellationToken), "202", "overloaded"));
            // A shopper with an unknown outcome asks again until it is known. A shopper that was told to come later
            // comes as a new user.
            for (var mustKnow = told.IsUnknown; mustKnow && LoadRun.IsToComeAgain(told) && !context.ScenarioCancellationToken.IsCancellationRequested;)
                await Step.Run("ask again", context, async () => Answers.Expect(told = await run.AskAsync(user, "only", Sku, context.ScenarioCancellationToken), "202", "overloaded"));
            return Answers.Expect(told, "202", "overloaded");
        }
    }

    public override void Judge(EndedRun ended)
    {
        _speed!.Dispose();
        if (ended.Load.BrokenOff.Count > 0 || Quarter < LeastQuarter)
        {
            ended.Unknown.Add($"I8 cannot be judged: the run was broken off, or takes less than {4 * LeastQuarter} s");
            return;
        }
        var course = Course.Of(History.Read(ended.Run.History.Path), ended.Load.StartedAt);
        var first = course.Between(1, Quarter);
        var high = course.Between(HighFrom, HighUntil);
        var bestFrom = course.BestUntil(HighUntil, BestSeconds);
        var best = course.Between(bestFrom, bestFrom + BestSeconds);
        var share = best.AcceptedPerSecond > 0 ? high.AcceptedPerSecond / best.AcceptedPerSecond : 0;
        var slower = Speed(ended, HighFrom, HighUntil) / Speed(ended, bestFrom, bestFrom + BestSeconds);
        var mostP99 = Math.Max(QuickMs, MostSlower * first.P99Ms);
        var recovery = course.SecondsUntilItself(3 * Quarter, 4 * Quarter, MostP50Of(first));
        if (_probed > 0) ended.Tell("probe", $"{_probed:N0} accepted/s, 128 shoppers who never pause, {Probe.TotalSeconds:0} s");
        ended.Tell("1 times", $"{_rate:N0} purchases/s wanted, {first.AcceptedPerSecond:N0} accepted/s, p50 {first.P50Ms:0.0} ms, p99 {first.P99Ms:0.0} ms");
        ended.Tell("10 times", $"{high.AcceptedPerSecond:N0} accepted/s, p50 {high.P50Ms:0.0} ms, p99 {high.P99Ms:0.0} ms (at most {mostP99:0}), {high.RefusedPerSecond:N0} refused/s");
        ended.Tell("goodput at 10 times beside the best", $"{share:0.00} of {best.AcceptedPerSecond:N0} accepted/s (at least {LeastGoodput:0.0}), while this machine took {slower:0.00} times as long for the same work");
        ended.Tell("itself again", recovery is { } took ? $"{took:0} s after the load went" : "not within the run");
        var broken = new List<string>();
        if (high.RefusedPerSecond == 0) ended.Unknown.Add("nobody was refused at 10 times: it was not too much, and says nothing of I8; a higher --rate would");
        else if (share < LeastGoodput && !(slower <= MostSlowdown)) ended.Unknown.Add($"goodput at 10 times is {share:0.00} of the best, and this machine took {slower:0.00} times as long for the same work: I8 cannot be judged");
        else if (share < LeastGoodput) broken.Add($"I8: goodput at 10 times is {share:0.00} of the best, {high.AcceptedPerSecond:N0} of {best.AcceptedPerSecond:N0} accepted/s");
        if (high.P99Ms > mostP99) broken.Add($"I8: at 10 times a hundredth of those served waits longer than {high.P99Ms:0} ms, at most {mostP99:0} ms are allowed");
        if (GrowthOf(ended) is { } growth) broken.Add(growth);
        // If the run ends less than that after the load went, a missing recovery is not known to be too late.
        if (recovery is null && Quarter >= MostRecoverySeconds) broken.Add($"I8: not itself again within {MostRecoverySeconds} s after the load went");
        else if (recovery is null) ended.Unknown.Add($"not itself again when the run ended, {Quarter:0} s after the load went; a longer --duration would tell");
        if (ended.OthersPercent > MostOthersPercent) ended.Unknown.Add($"other programs took {ended.OthersPercent:0} % of the machine (at most {MostOthersPercent} %): I8 cannot be judged");
        else ended.Violations.AddRange(broken);
    }

    // Under a constant load memory has found its level, or it never will. Returns null if it has, or if the memory is
    // not known.
    private string? GrowthOf(EndedRun ended)
    {
        double Most(double from, double to) => _memory?.MostBetween(At(ended, from), At(ended, to)) ?? 0;
        var middle = 2 * Quarter;
        var (before, early, late) = (Most(0, Quarter), Most(HighFrom, middle), Most(middle, HighUntil));
        ended.Tell("memory of the Api, MB", before == 0 ? "not known: it runs elsewhere" : $"{before:0} at 1 times, {early:0} and then {late:0} at 10 times (at most {MostGrowth * early:0}), {Most(3 * Quarter, 4 * Quarter):0} after it");
        return before > 0 && late == 0 ? "I8: the Api's process ended under the load"
            : late > MostGrowth * early ? $"I8: the Api's memory grows while 10 times as many come: {early:0} MB, then {late:0} MB" : null;
    }

    private double Speed(EndedRun ended, double from, double to) => _speed!.Between(At(ended, from), At(ended, to));

    private static DateTimeOffset At(EndedRun ended, double seconds) => ended.Load.StartedAt.AddSeconds(seconds);

    // The product is itself again at up to twice the latency of before, or if it is so quick that the difference does
    // not matter.
    private static double MostP50Of(Course.Stretch first) => Math.Max(20, 2 * first.P50Ms);
}
