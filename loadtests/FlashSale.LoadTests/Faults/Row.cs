using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Faults;

/// <summary>One kind of fault: how it is brought about while a sale runs, and how it ends.</summary>
/// <param name="Name">What the row is called on the command line.</param>
/// <param name="What">What it does, for people.</param>
public sealed record Row(string Name, string What)
{
    /// <summary>Before the sale: what the fault needs.</summary>
    public Func<Fault, Task> Prepare { get; init; } = _ => Task.CompletedTask;

    /// <summary>Brings the fault about, at a moment drawn from the seed. Whoever sees that it took hold says so by <see cref="Fault.TookHold"/>.</summary>
    public required Func<Fault, Task> Inject { get; init; }

    /// <summary>How long it lasts; the most where it is drawn from the seed.</summary>
    public TimeSpan Lasts { get; init; }

    /// <summary>Whether the seed says how much of <see cref="Lasts"/> it lasts.</summary>
    public bool LastsAtRandom { get; init; }

    /// <summary>Ends it. Also called when <see cref="Inject"/> has failed half-way. Recovery is counted from its end.</summary>
    public Func<Fault, Task> Heal { get; init; } = _ => Task.CompletedTask;

    /// <summary>What the fault may cost; beyond that every promise holds.</summary>
    public Loss Loss { get; init; } = Loss.None;
}

/// <summary>A fault in the making: what a row's steps share.</summary>
/// <param name="stack">Where.</param>
/// <param name="random">The seed's.</param>
public sealed class Fault(FaultStack stack, Random random)
{
    private readonly List<string> _evidence = [];
    private readonly Stack<Func<Task>> _atHeal = new();
    private readonly Stack<Func<Task>> _atEnd = new();

    public FaultStack Stack => stack;

    public Random Random => random;

    /// <summary>The product as it is now: process ids change.</summary>
    public Target Target => Target.Load(stack.EnvFile);

    /// <summary>The sale, from <see cref="Row.Inject"/> on.</summary>
    public LoadSale Sale { get; set; } = null!;

    /// <summary>The nodes that shoppers go to.</summary>
    public IReadOnlyList<Uri> Apis { get; set; } = [Target.Load(stack.EnvFile).Api];

    /// <summary>That the fault took hold, and how that was seen. A row that says nothing is inconclusive.</summary>
    public IReadOnlyList<string> Evidence => _evidence;

    /// <summary>Tells that the fault took hold.</summary>
    public void TookHold(string evidence) => _evidence.Add(evidence);

    /// <summary>Why it could not be brought about; null: it could.</summary>
    public string? WhyNot { get; set; }

    /// <summary>What <see cref="Row.Inject"/> leaves to be done when the fault ends, last thing first.</summary>
    public void AtHeal(Func<Task> undo) => _atHeal.Push(undo);

    /// <summary>What <see cref="Row.Prepare"/> leaves to be done after the verdict, last thing first.</summary>
    public void AtEnd(Func<Task> undo) => _atEnd.Push(undo);

    /// <summary>Does what was left for the end of the fault.</summary>
    public Task HealAsync() => UndoAsync(_atHeal);

    /// <summary>Does what was left for the end of the run.</summary>
    public Task EndAsync() => UndoAsync(_atEnd);

    private static async Task UndoAsync(Stack<Func<Task>> undo)
    {
        // Each, whatever became of the one before it.
        List<Exception> failed = [];
        while (undo.TryPop(out var step))
        {
            try
            {
                await step();
            }
            catch (Exception e)
            {
                failed.Add(e);
            }
        }
        if (failed.Count > 0) throw new AggregateException(failed);
    }
}

/// <summary>What a row needs is not to be had here, or the fault did not take hold: nothing is known of the promises.</summary>
public sealed class InconclusiveException(string message) : Exception(message);
