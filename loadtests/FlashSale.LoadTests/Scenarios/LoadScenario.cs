using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// A kind of load on a sale of its own: the items on sale, the behaviour of shoppers, and the conditions that must hold
/// beyond the promises.
/// </summary>
public abstract class LoadScenario(ScenarioOptions options)
{
    protected ScenarioOptions Options => options;

    /// <summary>The items on sale.</summary>
    public abstract IReadOnlyList<LoadItem> Items { get; }

    /// <summary>Units that one shopper may have of the whole sale. Null: no such limit.</summary>
    public virtual int? PerUserLimit => null;

    /// <summary>The most connections to the Api. A shopper waits for one of them, as behind a load balancer.</summary>
    public virtual int Connections => 512;

    /// <summary>How long a shopper waits for a definite answer.</summary>
    public virtual TimeSpan Patience => TimeSpan.FromSeconds(20);

    /// <summary>Describes the load, without the sale around it.</summary>
    public abstract ScenarioProps Describe(string name, LoadRun run);

    /// <summary>Does the work that takes time and must not be part of the load. The sale is open.</summary>
    public virtual Task PrepareAsync(LoadRun run, CancellationToken cancel) => Task.CompletedTask;

    /// <summary>
    /// Judges the conditions that must hold beyond the promises I1 to I7, and reports the scenario's own figures.
    /// </summary>
    /// <param name="ended">The run, with its history closed.</param>
    public virtual void Judge(EndedRun ended)
    {
    }
}

/// <summary>A run that has ended and was judged.</summary>
/// <param name="Run">The run, with its history closed.</param>
/// <param name="Load">The engine's figures.</param>
/// <param name="Verdict">The verdict on the promises.</param>
/// <param name="OthersPercent">Percent of the machine that other programs took during the load. 0 where that is not
/// known.</param>
/// <param name="Violations">Broken promises. The scenario adds its own.</param>
/// <param name="Facts">Figures for the reports. The scenario adds its own.</param>
/// <param name="Unknown">Reasons why the run proves nothing. The scenario adds its own.</param>
public sealed record EndedRun(
    LoadRun Run, RunResult Load, VerdictResult Verdict, double OthersPercent, List<string> Violations, List<KeyValuePair<string, string>> Facts, List<string> Unknown)
{
    /// <summary>Adds a figure for the reports.</summary>
    public void Tell(string what, string howMuch) => Facts.Add(new(what, howMuch));

    /// <summary>
    /// Adds a violation unless everything was sold. Shoppers wanted more units than there were, and every shopper came
    /// again until the outcome was known.
    /// </summary>
    public void ExpectAllSold()
    {
        if (Verdict.Accepted < Run.Sale.Stock) Violations.Add($"sale: {Verdict.Accepted:N0} of {Run.Sale.Stock:N0} units were sold although more were wanted");
    }
}
