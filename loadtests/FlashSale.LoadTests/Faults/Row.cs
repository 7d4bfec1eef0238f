using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Faults;

/// <summary>One kind of fault, with the steps that bring it about while a sale runs, and that end it.</summary>
/// <param name="Name">Name of the row on the command line.</param>
/// <param name="What">Description of the fault, for people.</param>
public sealed record Row(string Name, string What)
{
    /// <summary>Prepares everything that the fault needs. It runs before the sale.</summary>
    public Func<Fault, Task> Prepare { get; init; } = _ => Task.CompletedTask;

    /// <summary>
    /// Brings the fault about, at a moment drawn from the seed. The step that sees the fault take hold reports it by
    /// <see cref="Fault.TookHold"/>.
    /// </summary>
    public required Func<Fault, Task> Inject { get; init; }

    /// <summary>Duration of the fault. If the seed decides, the longest one.</summary>
    public TimeSpan Lasts { get; init; }

    /// <summary>Whether the seed decides how much of <see cref="Lasts"/> the fault lasts.</summary>
    public bool LastsAtRandom { get; init; }

    /// <summary>
    /// Ends the fault. It also runs when <see cref="Inject"/> has failed half-way. Recovery counts from its end.
    /// </summary>
    public Func<Fault, Task> Heal { get; init; } = _ => Task.CompletedTask;

    /// <summary>The loss that the fault may cause. Every other promise holds.</summary>
    public Loss Loss { get; init; } = Loss.None;
}

/// <summary>A fault in the making, shared by the steps of a row.</summary>
/// <param name="stack">The stack that the row breaks.</param>
/// <param name="random">Random numbers of the run's seed.</param>
public sealed class Fault(FaultStack stack, Random random)
{
    private readonly List<string> _evidence = [];
    private readonly Stack<Func<Task>> _atHeal = new();
    private readonly Stack<Func<Task>> _atEnd = new();

    public FaultStack Stack => stack;

    public Random Random => random;

    /// <summary>The product as it is now. It is loaded at each use, because process ids change.</summary>
    public Target Target => Target.Load(stack.EnvFile);

    /// <summary>The sale. It is set from <see cref="Row.Inject"/> on.</summary>
    public LoadSale Sale { get; set; } = null!;

    /// <summary>The nodes that shoppers go to.</summary>
    public IReadOnlyList<Uri> Apis { get; set; } = [Target.Load(stack.EnvFile).Api];

    /// <summary>How the row saw that the fault took hold. A row without evidence is inconclusive.</summary>
    public IReadOnlyList<string> Evidence => _evidence;

    /// <summary>Records that the fault took hold.</summary>
    public void TookHold(string evidence) => _evidence.Add(evidence);

    /// <summary>Why the fault could not be brought about. Null: it could.</summary>
    public string? WhyNot { get; set; }

    /// <summary>Adds a step to be done when the fault ends. The last step added runs first.</summary>
    public void AtHeal(Func<Task> undo) => _atHeal.Push(undo);

    /// <summary>Adds a step to be done after the verdict. The last step added runs first.</summary>
    public void AtEnd(Func<Task> undo) => _atEnd.Push(undo);

    /// <summary>Runs the steps left for the end of the fault.</summary>
    /// <exception cref="AggregateException">Steps failed. The others ran all the same.</exception>
    public Task HealAsync() => UndoAsync(_atHeal);

    /// <summary>Runs the steps left for the end of the run.</summary>
    /// <exception cref="AggregateException">Steps failed. The others ran all the same.</exception>
    public Task EndAsync() => UndoAsync(_atEnd);

    private static async Task UndoAsync(Stack<Func<Task>> undo)
    {
        // Every step runs, even if the step before it failed.
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

/// <summary>
/// The machine lacks something that a row needs, or the fault did not take hold. Nothing is known of the promises.
/// </summary>
public sealed class InconclusiveException(string message) : Exception(message);
