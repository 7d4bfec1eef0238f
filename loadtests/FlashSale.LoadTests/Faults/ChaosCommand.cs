using System.Globalization;
using System.Runtime.InteropServices;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Runs the command <c>chaos</c>. It brings the stack up behind its proxies, runs each row with each seed and writes
/// the table. Before that, scripts/chaos.sh makes the stack's folder with its secrets. Afterwards the script takes
/// everything down.
/// </summary>
public static class ChaosCommand
{
    /// <returns>An <see cref="ExitCode"/>. Broken outranks inconclusive.</returns>
    /// <exception cref="UsageException">The arguments are wrong.</exception>
    public static async Task<int> RunAsync(IReadOnlyList<string> arguments)
    {
        if (arguments is ["--list"])
        {
            foreach (var row in Rows.All) Console.WriteLine($"{row.Name,-24} {row.What}");
            return ExitCode.Pass;
        }
        var (options, names) = Parse(arguments);
        var rows = Rows.Named(names);
        // --check only tests the names of the rows, before anything is built and started.
        if (options.ContainsKey("check")) return ExitCode.Pass;
        using var stop = new CancellationTokenSource();
        using var onTerm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var onInt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        try
        {
            return await RunAsync(rows, options, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine("broken off");
            return ExitCode.Inconclusive;
        }

        // A signal only cancels the run. Before the run ends, it heals the fault and unmounts its disks.
        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = true;
            stop.Cancel();
        }
    }

    private static async Task<int> RunAsync(IReadOnlyList<Row> rows, Dictionary<string, string> options, CancellationToken cancel)
    {
        await using var stack = new FaultStack(Option("root"), Option("stack"), Number("port-base", ""));
        try
        {
            await stack.UpAsync();
        }
        catch (InvalidOperationException)
        {
            // up.sh has already printed the reason.
            return ExitCode.Inconclusive;
        }
        List<FaultOutcome> outcomes = [];
        foreach (var (row, seed) in from seed in Enumerable.Range(Number("seed", "1"), Number("seeds", "1")) from row in rows select (row, seed))
        {
            Console.Write($"  {row.Name}, seed {seed}: ");
            var outcome = await new FaultRun(stack, row, seed).RunAsync(text => Console.Write($"{text} ... "), cancel);
            outcomes.Add(outcome);
            Tell(outcome);
            // The table is written after each row. So a run of an hour that is broken off still leaves its results.
            await File.WriteAllTextAsync(Option("result"), ChaosReport.Write(await File.ReadAllTextAsync(Option("about"), cancel), outcomes), cancel);
        }
        return outcomes.Any(o => o.Verdict == FaultVerdict.Broken) ? ExitCode.Broken : outcomes.Any(o => o.Verdict == FaultVerdict.Inconclusive) ? ExitCode.Inconclusive : ExitCode.Pass;

        string Option(string name) => options.TryGetValue(name, out var value) ? value : throw new UsageException($"--{name} is missing");

        int Number(string name, string otherwise) =>
            int.TryParse(options.GetValueOrDefault(name, otherwise), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : throw new UsageException($"--{name} must be a number");
    }

    private static void Tell(FaultOutcome o)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{o.Verdict.ToString().ToUpperInvariant()}  {o.Accepted} accepted, {o.Refused} refused, {o.Unknown} unknown, {o.Lost} lost; recovered after {ChaosReport.Seconds(o.Recovery)} s, slowest {ChaosReport.Seconds(o.Slowest)} s; {o.Note}"));
        foreach (var violation in o.Violations) Console.WriteLine($"      {violation}");
    }

    private static (Dictionary<string, string> Options, List<string> Names) Parse(IReadOnlyList<string> arguments)
    {
        var options = new Dictionary<string, string>(StringComparer.Ordinal);
        List<string> names = [];
        for (var i = 0; i < arguments.Count; i++)
        {
            if (arguments[i] is "--all") names.AddRange(Rows.All.Select(row => row.Name));
            else if (arguments[i] is "--check") options["check"] = "";
            else if (!arguments[i].StartsWith("--", StringComparison.Ordinal)) names.Add(arguments[i]);
            else if (i + 1 < arguments.Count) options[arguments[i][2..]] = arguments[++i];
            else throw new UsageException($"{arguments[i]} needs a value");
        }
        return names.Count > 0 ? (options, names) : throw new UsageException("no row is named; --list shows them");
    }
}
