using System.Diagnostics;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Runs a scenario: warm-up, a sale of its own, the load, the end of the sale, replays and the verdict.
/// </summary>
public sealed class ScenarioRunner(string name, LoadScenario scenario, Target target, ScenarioOptions options, string historyPath)
{
    private const string WarmSku = "warm-1";
    private const string GoneSku = "warm-2";
    private const int WarmShoppers = 64;
    private const int OneInComesTooLate = 8;

    private readonly List<string> _warmUpViolations = [];
    private Costs? _before;

    /// <summary>Runs the scenario and returns the exit code.</summary>
    /// <param name="engineArguments">Options of <see cref="LoadRunner.RunAsync"/>.</param>
    public async Task<int> RunAsync(string[] engineArguments)
    {
        if (options.WarmUp > TimeSpan.Zero) await OnSaleAsync($"Load run {name}, warm-up", [new LoadItem(WarmSku, 1_000_000), new LoadItem(GoneSku, 1)], null, WarmUpAsync);
        var result = await OnSaleAsync($"Load run {name}", scenario.Items, scenario.PerUserLimit, async sale =>
        {
            await using var run = LoadRun.Begin(target, sale, historyPath, scenario.Connections, scenario.Patience);
            return await LoadRunner
                .RegisterScenarios(scenario.Describe(name, run).WithInit(context => PrepareAsync(run, context.Cancel)))
                .WithTestSuite("FlashSale").WithTestName(name)
                .WithVerdict((load, cancel) => JudgeAsync(run, load, cancel))
                .RunAsync(engineArguments);
        });
        // After a failure the history shows the cause, so it is deleted only after a pass.
        if (result.ExitCode == ExitCode.Pass) File.Delete(historyPath);
        else Console.WriteLine($"every answer is in {historyPath}");
        return result.ExitCode;
    }

    private async Task<T> OnSaleAsync<T>(string title, IReadOnlyList<LoadItem> items, int? perUserLimit, Func<LoadSale, Task<T>> use)
    {
        using var sale = await LoadSale.OpenAsync(target, title, items, perUserLimit);
        try
        {
            return await use(sale);
        }
        finally
        {
            await sale.CloseAsync();
        }
    }

    // The first thousands of purchases meet code that the runtime has not optimised yet, in the hosts and in this
    // generator. So the warm-up takes the same way as the load. It has a sale of its own, because it is no part of the
    // run. No promise may be broken in it either.
    private async Task<VerdictResult> WarmUpAsync(LoadSale sale)
    {
        await using var run = LoadRun.Begin(target, sale, historyPath, WarmShoppers, TimeSpan.FromSeconds(10));
        var shopping = Scenario.Create("warm-up", async context =>
            Answers.Of(await run.BuyAsync(context, run.NewUser(), "warm", context.InvocationNumber % OneInComesTooLate == 0 ? GoneSku : WarmSku)))
            .WithoutWarmUp()
            .WithLoadSimulations(Simulation.KeepConstant(WarmShoppers, options.WarmUp));
        var load = await LoadRunner.RegisterScenarios(shopping).WithoutReports().WithConsole(TextWriter.Null).RunAsync([]);
        if (load.BrokenOff.Count > 0) throw new InvalidOperationException(string.Join("; ", load.BrokenOff));
        await sale.CloseAsync();
        await run.History.DisposeAsync();
        var verdict = await Verdict.CheckAsync(target, sale, historyPath, Loss.None, options.Rest, CancellationToken.None);
        _warmUpViolations.AddRange(verdict.Violations);
        if (verdict.Accepted == 0) throw new InvalidOperationException($"nothing could be bought: the answers were {string.Join(", ", verdict.Answers.Keys)}");
        Console.WriteLine($"warmed up with {verdict.Accepted:N0} purchases; all at rest after {verdict.RestTook.TotalSeconds:0.0} s");
        return verdict;
    }

    private async Task PrepareAsync(LoadRun run, CancellationToken cancel)
    {
        await scenario.PrepareAsync(run, cancel);
        // Otherwise the collector would look at the objects of the preparation again and again under load.
        GC.Collect();
        _before = Costs.Now(target);
    }

    private async Task<RunVerdict> JudgeAsync(LoadRun run, RunResult result, CancellationToken cancel)
    {
        try
        {
            return await JudgeAllAsync(run, result, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            return new RunVerdict([], ["the answers were not judged"], []);
        }
    }

    private async Task<RunVerdict> JudgeAllAsync(LoadRun run, RunResult result, CancellationToken cancel)
    {
        var load = (Costs.Now(target) - _before!) with { Requests = run.History.Count };
        // This comes before the replays, so that the cost is that of the load. The worker may still have orders to
        // store.
        await Verdict.RestAsync(target, run.Sale.Id, options.Rest, cancel);
        var stored = Costs.Now(target) - _before!;
        await run.Sale.CloseAsync(cancel);
        // Replays must work after the end of the sale, too.
        var (replayed, notAccepted) = await run.ReplayAsync(cancel);
        await run.History.DisposeAsync();
        var verdict = await Verdict.CheckAsync(target, run.Sale, historyPath, Loss.None, options.Rest, cancel);
        var ended = new EndedRun(run, result, verdict, load.OthersPercent, [.. _warmUpViolations, .. verdict.Violations, .. run.Findings.Lines], [], [.. Unjudged(verdict, notAccepted)]);
        Tell(ended, replayed, load, stored);
        scenario.Judge(ended);
        return new RunVerdict(ended.Violations, ended.Unknown, ended.Facts);
    }

    private static IEnumerable<string> Unjudged(VerdictResult verdict, int notAccepted)
    {
        if (verdict.WhyNot is { } why) yield return why;
        if (verdict.Accepted == 0) yield return "nobody bought anything";
        if (notAccepted > 0) yield return $"{notAccepted} replays of accepted purchases got no 202";
        if (verdict.Unsettled > 0) yield return $"the outcome of {verdict.Unsettled} purchases is unknown to their shoppers";
    }

    private static void Tell(EndedRun ended, int replayed, Costs load, Costs stored)
    {
        var verdict = ended.Verdict;
        ended.Tell("violations", verdict.ViolationCounts.Count == 0 ? "none" : string.Join(", ", verdict.ViolationCounts.Select(pair => $"{pair.Key}: {pair.Value:N0}")));
        ended.Tell("judged", $"{verdict.Answers.Sum(answer => answer.Value):N0} answers ({string.Join(", ", verdict.Answers.Select(answer => $"{answer.Key}: {answer.Value:N0}"))}) against {verdict.Orders:N0} orders; {replayed:N0} replays");
        if (verdict.Orders == 0) return;
        ended.Tell("persisted end to end", $"{verdict.PersistedPerSecond:N0} orders/s: {verdict.Orders:N0} in Postgres {verdict.PersistSeconds:0.00} s after the first purchase was sent");
        if (stored.Parts.Count == 0) return;
        ended.Tell("processor time per order, microseconds", stored.Per(verdict.Orders));
        ended.Tell("per request, microseconds", $"{stored.Per(load.Requests)}, generator {load.Generator / load.Requests:0.0}");
        ended.Tell("other programs took", $"{load.OthersPercent:0} % of the machine during the load");
    }

    /// <summary>
    /// Processor time in microseconds: of the target's parts that run here, of this generator, and of the whole
    /// machine.
    /// </summary>
    private sealed record Costs(IReadOnlyDictionary<string, double> Parts, double Generator, double Worked, double All)
    {
        public long Requests { get; init; }

        /// <summary>Percent of the machine that neither the target nor the generator used.</summary>
        public double OthersPercent => All > 0 && Parts.Count > 0 ? Math.Max(0, 100 * (Worked - Generator - Parts.Values.Sum()) / All) : 0;

        public static Costs Now(Target target)
        {
            var (worked, all) = ProcessorTime.OfMachine();
            return new Costs(ProcessorTime.Of(target.Processes), Environment.CpuUsage.TotalTime.TotalMicroseconds, worked, all);
        }

        public static Costs operator -(Costs now, Costs before) => new(
            now.Parts.Where(part => before.Parts.ContainsKey(part.Key)).ToDictionary(part => part.Key, part => part.Value - before.Parts[part.Key], StringComparer.Ordinal),
            now.Generator - before.Generator, now.Worked - before.Worked, now.All - before.All);

        public string Per(long count) => string.Join(", ", Parts.Select(part => $"{part.Key} {part.Value / Math.Max(1, count):0.0}"));
    }
}
