using System.Runtime.InteropServices;
using FlashSale.LoadTests.Reports;

namespace FlashSale.LoadTests.Engine;

/// <summary>Runs scenarios side by side, prints progress, judges the result and writes reports.</summary>
public sealed class LoadRunner
{
    private readonly IReadOnlyList<ScenarioProps> _scenarios;
    private readonly List<string> _brokenOff = [];
    private string _suite = "load";
    private string _name = "run";
    private string? _folder = "reports";
    private string? _fileName;
    private ReportFormat[] _formats = Enum.GetValues<ReportFormat>();
    private TimeSpan _reportingInterval = TimeSpan.FromSeconds(5);
    private string? _thresholdFile;
    private int? _seed;
    private Func<RunResult, CancellationToken, Task<RunVerdict>>? _judge;
    private TextWriter _console = Console.Out;

    private LoadRunner(IReadOnlyList<ScenarioProps> scenarios) => _scenarios = scenarios;

    /// <summary>Creates a runner for these scenarios. Their names must differ.</summary>
    public static LoadRunner RegisterScenarios(params ScenarioProps[] scenarios)
    {
        if (scenarios.Length == 0) throw new ArgumentException("A run has at least one scenario.", nameof(scenarios));
        if (scenarios.GroupBy(scenario => scenario.Name, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new ArgumentException($"Two scenarios are named '{twice.Key}'.", nameof(scenarios));
        return new LoadRunner(scenarios);
    }

    /// <summary>Sets the name of the suite in the reports (default: load).</summary>
    public LoadRunner WithTestSuite(string testSuite) => With(() => _suite = testSuite);

    /// <summary>Sets the name of the run in the reports (default: run).</summary>
    public LoadRunner WithTestName(string testName) => With(() => _name = testName);

    /// <summary>Sets the folder of the reports (default: reports, in the working folder).</summary>
    public LoadRunner WithReportFolder(string folder) => With(() => _folder = folder);

    /// <summary>Sets the file name of the reports, without extension (default: the time and name of the run).</summary>
    public LoadRunner WithReportFileName(string fileName) => With(() => _fileName = fileName);

    /// <summary>Sets the formats of the reports (default: all).</summary>
    public LoadRunner WithReportFormats(params ReportFormat[] formats) => With(() => _formats = formats);

    /// <summary>Writes no reports.</summary>
    public LoadRunner WithoutReports() => With(() => _folder = null);

    /// <summary>Sets the time between two lines of progress (default: 5 s).</summary>
    public LoadRunner WithReportingInterval(TimeSpan interval) => With(() => _reportingInterval = interval);

    /// <summary>Adds the thresholds of a file to those set in code. See <see cref="ThresholdFile"/>.</summary>
    public LoadRunner WithThresholdFile(string path) => With(() => _thresholdFile = path);

    /// <summary>
    /// Sets the seed of everything random. Without it each run draws another seed, and the reports name it.
    /// </summary>
    public LoadRunner WithSeed(int seed) => With(() => _seed = seed);

    /// <summary>Sets the judge that runs after the load, before anything is cleaned up or reported.</summary>
    public LoadRunner WithVerdict(Func<RunResult, CancellationToken, Task<RunVerdict>> judge) => With(() => _judge = judge);

    /// <summary>Sets the writer of progress (default: standard output).</summary>
    public LoadRunner WithConsole(TextWriter console) => With(() => _console = console);

    /// <summary>Checks the options of <see cref="RunAsync"/> and runs nothing.</summary>
    /// <exception cref="UsageException">An option is not understood.</exception>
    public static void Check(string[] args) => new LoadRunner([]).Read(args);

    /// <summary>
    /// Blocks until <see cref="RunAsync"/> has ended. It suits a program that has nothing else to do.
    /// </summary>
    public RunResult Run(params string[] args) => RunAsync(args, CancellationToken.None).GetAwaiter().GetResult();

    /// <summary>
    /// Prepares the scenarios, warms up, runs the load, judges, cleans up and reports. Options: --report-folder FOLDER,
    /// --report-formats html,md,json, --report-file NAME, --thresholds FILE, --seed N, --no-reports. Options win over
    /// values set in code. SIGINT and SIGTERM end the load early, and the run is then inconclusive.
    /// </summary>
    /// <exception cref="UsageException">An option or the file of thresholds is not understood.</exception>
    public async Task<RunResult> RunAsync(string[] args, CancellationToken cancel = default)
    {
        Read(args);
        var seed = _seed ?? Random.Shared.Next(1, int.MaxValue);
        var thresholds = _thresholdFile is null ? new Dictionary<string, Threshold[]>(StringComparer.Ordinal) : ThresholdFile.Load(_thresholdFile);
        var scenarios = _scenarios.Select(scenario => thresholds.TryGetValue(scenario.Name, out var more) ? scenario.WithThresholds([.. scenario.Thresholds, .. more]) : scenario).ToArray();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var judging = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        // A signal under load ends only the load, and the judge still judges that part. A signal while the judge works
        // ends the judge.
        var current = ended;
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => BreakOff(signal, current));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => BreakOff(signal, current));
        var prepared = new List<ScenarioProps>();
        RunResult result;
        try
        {
            foreach (var scenario in scenarios)
            {
                prepared.Add(scenario);
                if (scenario.Init is { } init) await init(new ScenarioInitContext(scenario.Name, ended.Token));
            }
            await LoadAsync(scenarios, seed, warmUp: true, ended.Token);
            var startedAt = TimeProvider.System.GetUtcNow();
            var (runs, errors) = await LoadAsync(scenarios, seed, warmUp: false, ended.Token);
            if (ended.IsCancellationRequested && _brokenOff.Count == 0) _brokenOff.Add("the run was cancelled");
            var stats = runs.Select(Figures.Of).ToArray();
            result = new RunResult(
                _suite, _name, startedAt, seed, stats, Judge(scenarios, stats, errors), [.. _brokenOff],
                [.. runs.Zip(stats).SelectMany(pair => Generator.FellBehind(pair.First.Scenario, pair.Second))], RunVerdict.None);
            current = judging;
            result = result with { Verdict = await VerdictAsync(result, judging.Token) };
        }
        finally
        {
            foreach (var scenario in prepared)
                if (scenario.Clean is { } clean) await clean(new ScenarioInitContext(scenario.Name, cancel));
        }
        await ReportAsync(result);
        return result;
    }

    private async Task<RunVerdict> VerdictAsync(RunResult result, CancellationToken cancel)
    {
        try
        {
            return _judge is null ? RunVerdict.None : await _judge(result, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            return RunVerdict.None with { Inconclusive = ["its judge was broken off"] };
        }
    }

    private async Task<(ScenarioRun[] Runs, Dictionary<Threshold, int> Errors)> LoadAsync(ScenarioProps[] scenarios, int seed, bool warmUp, CancellationToken cancel)
    {
        ScenarioRun[] runs = [];
        // The warm-up draws other random numbers than the load.
        runs = [.. scenarios.Where(scenario => scenario.Run is not null && (!warmUp || scenario.WarmUp > TimeSpan.Zero))
            .Select((scenario, i) => new ScenarioRun(scenario, new LoadProfile(warmUp ? WarmUp(scenario) : scenario.Simulations, seed + i), warmUp ? ~seed : seed, Stop))];
        var errors = new Dictionary<Threshold, int>(ReferenceEqualityComparer.Instance);
        if (runs.Length == 0) return (runs, errors);
        await using var onCancel = cancel.Register(() => { foreach (var run in runs) run.End(); });
        var load = Task.WhenAll(runs.Select(run => run.RunAsync()));
        await Progress.TellAsync(load, runs, warmUp, _reportingInterval, _console, () => CheckUnderWay(runs, warmUp, errors));
        await load;
        return (runs, errors);

        void Stop(string? name, string reason)
        {
            lock (_brokenOff)
            {
                foreach (var run in runs.Where(run => !run.IsEnded && (name is null || run.Scenario.Name == name)))
                {
                    _brokenOff.Add($"{run.Scenario.Name} was ended early: {reason}");
                    run.End();
                }
            }
        }
    }

    private static LoadSimulation[] WarmUp(ScenarioProps scenario) => scenario.Simulations[0] switch
    {
        LoadSimulation.Open open => [open with { From = open.To, During = scenario.WarmUp }],
        LoadSimulation.Closed closed => [closed with { From = closed.To, During = scenario.WarmUp }],
        var other => [other with { During = scenario.WarmUp }],
    };

    private static void CheckUnderWay(ScenarioRun[] runs, bool warmUp, Dictionary<Threshold, int> errors)
    {
        if (warmUp) return;
        foreach (var run in runs)
        {
            var due = run.Scenario.Thresholds.Where(threshold => threshold.AbortWhenErrorCount is not null && run.Elapsed >= threshold.StartCheckAfter).ToArray();
            if (due.Length == 0) continue;
            var stats = Figures.Of(run);
            foreach (var threshold in due.Where(threshold => !threshold.Holds(stats)))
            {
                errors[threshold] = errors.GetValueOrDefault(threshold) + 1;
                if (errors[threshold] == threshold.AbortWhenErrorCount) run.End();
            }
        }
    }

    private static ThresholdResult[] Judge(ScenarioProps[] scenarios, ScenarioStats[] stats, Dictionary<Threshold, int> errors) =>
    [
        .. from pair in scenarios.Where(scenario => scenario.Run is not null).Zip(stats)
           from threshold in pair.First.Thresholds
           let underWay = errors.GetValueOrDefault(threshold)
           let failed = !threshold.Holds(pair.Second) || underWay >= threshold.AbortWhenErrorCount
           select new ThresholdResult(pair.First.Name, threshold.StepName, threshold.Text, failed, underWay),
    ];

    private async Task ReportAsync(RunResult result)
    {
        await _console.WriteLineAsync(ConsoleReport.Of(result));
        if (_folder is null) return;
        var name = _fileName ?? $"{result.StartedAt:yyyy-MM-dd-HHmmss}-{result.TestName}";
        foreach (var path in await ReportFiles.WriteAsync(result, _folder, name, _formats)) await _console.WriteLineAsync($"written to {path}");
    }

    private void BreakOff(PosixSignalContext signal, CancellationTokenSource ended)
    {
        signal.Cancel = true;
        lock (_brokenOff) _brokenOff.Add($"the run was broken off by {signal.Signal}");
        ended.Cancel();
    }

    private void Read(string[] args)
    {
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--report-folder": _folder = Value(); break;
                case "--report-file": _fileName = Value(); break;
                case "--report-formats": _formats = [.. Value().Split(',').Select(Format)]; break;
                case "--no-reports": _folder = null; break;
                case "--thresholds": _thresholdFile = Value(); break;
                case "--seed": _seed = int.TryParse(Value(), out var seed) ? seed : throw new UsageException($"--seed {args[i]}: must be a whole number"); break;
                default: throw new UsageException($"unknown argument: {args[i]}");
            }

            string Value() => ++i < args.Length ? args[i] : throw new UsageException($"{args[i - 1]}: its value is missing");
        }

        static ReportFormat Format(string name) =>
            Enum.TryParse<ReportFormat>(name, ignoreCase: true, out var format) && Enum.IsDefined(format) ? format
            : throw new UsageException($"--report-formats {name}: must be of {string.Join(", ", Enum.GetNames<ReportFormat>()).ToLowerInvariant()}");
    }

    private LoadRunner With(Action set)
    {
        set();
        return this;
    }
}

/// <summary>
/// The command line, or a file that it names, is not understood. The message names the faulty part and the accepted
/// form.
/// </summary>
public sealed class UsageException(string message) : Exception(message);
