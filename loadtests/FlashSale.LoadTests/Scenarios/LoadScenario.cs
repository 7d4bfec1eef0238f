using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>A kind of load on a sale of its own: what is on sale, what shoppers do, what must hold beyond the promises.</summary>
public abstract class LoadScenario(ScenarioOptions options)
{
    protected ScenarioOptions Options => options;

    /// <summary>What is on sale.</summary>
    public abstract IReadOnlyList<LoadItem> Items { get; }

    /// <summary>Units that one shopper may have of the whole sale.</summary>
    public virtual int? PerUserLimit => null;

    /// <summary>Connections to the Api at most: as behind a load balancer, a shopper waits for one of them.</summary>
    public virtual int Connections => 512;

    /// <summary>How long a shopper waits for a definite answer.</summary>
    public virtual TimeSpan Patience => TimeSpan.FromSeconds(20);

    /// <summary>The load, without the sale around it.</summary>
    public abstract ScenarioProps Describe(string name, LoadRun run);

    /// <summary>What takes time and must not be part of the load. The sale is open.</summary>
    public virtual Task PrepareAsync(LoadRun run, CancellationToken cancel) => Task.CompletedTask;

    /// <summary>What must hold beyond the promises I1 to I7, and figures of its own.</summary>
    /// <param name="ended">The run, its history closed.</param>
    public virtual void Judge(EndedRun ended)
    {
    }
}

/// <summary>A run that has ended and was judged.</summary>
/// <param name="Run">With its history closed.</param>
/// <param name="Load">The engine's figures.</param>
/// <param name="Verdict">Of the promises.</param>
/// <param name="OthersPercent">What other programs took of the machine during the load; 0 where that is not known.</param>
/// <param name="Violations">To add to.</param>
/// <param name="Facts">To add to.</param>
/// <param name="Unknown">Why the run says nothing; to add to.</param>
public sealed record EndedRun(
    LoadRun Run, RunResult Load, VerdictResult Verdict, double OthersPercent, List<string> Violations, List<KeyValuePair<string, string>> Facts, List<string> Unknown)
{
    /// <summary>A figure for the reports.</summary>
    public void Tell(string what, string howMuch) => Facts.Add(new(what, howMuch));

    /// <summary>Everything was sold, since more was wanted than there was and every shopper came until they knew.</summary>
    public void ExpectAllSold()
    {
        if (Verdict.Accepted < Run.Sale.Stock) Violations.Add($"sale: {Verdict.Accepted:N0} of {Run.Sale.Stock:N0} units were sold although more were wanted");
    }
}
