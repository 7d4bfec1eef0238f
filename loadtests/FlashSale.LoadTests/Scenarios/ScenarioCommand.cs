using System.Globalization;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>Runs the command <c>run</c>: a scenario on a sale of its own, judged at its end.</summary>
public static class ScenarioCommand
{
    private static readonly Dictionary<string, (string About, Func<ScenarioOptions, LoadScenario> Make)> Scenarios = new(StringComparer.Ordinal)
    {
        ["spike"] = ("everyone in the first second: RATE shoppers a second (50,000) for DURATION (1 s), four in five can be served", options => new Spike(options)),
        ["soak"] = ("a steady RATE (500/s) for DURATION (600 s); some cancel, replay, look", options => new Soak(options)),
        ["sold-out-storm"] = ("1,000 units, RATE shoppers a second (8,000) for DURATION (15 s)", options => new SoldOutStorm(options)),
        ["bots"] = ("20 users with many keys, replays, reused keys, forged tokens: RATE (2,000/s) for DURATION (20 s)", options => new Bots(options)),
        ["browse-then-buy"] = ("whole visits: pages, thought, purchase, waiting, paying: RATE (50/s) for DURATION (30 s)", options => new BrowseThenBuy(options)),
        ["overload"] = ("from 1 times (RATE, else what a probe finds) to 10 times and back, in DURATION (60 s)", options => new OverloadAndBack(options)),
        ["many-skus"] = ("10,000 items by Zipf's law: RATE (4,000/s) for DURATION (20 s)", options => new ManySkus(options)),
    };

    /// <summary>Prints a line per scenario: its name, a tab and its description.</summary>
    public static int List()
    {
        foreach (var (name, scenario) in Scenarios) Console.WriteLine($"{name}\t{scenario.About}");
        return ExitCode.Pass;
    }

    /// <summary>
    /// Runs the command <c>check SCENARIO</c>: checks the options of a run before a stack is made for it.
    /// </summary>
    /// <exception cref="UsageException">An option is not understood.</exception>
    public static int Check(string[] args)
    {
        Named(args, out var rest);
        OwnOptions.Take(ref rest);
        LoadRunner.Check(rest);
        return ExitCode.Pass;
    }

    /// <summary>Runs the command <c>run SCENARIO</c>. Options that are not known here go to the engine.</summary>
    /// <exception cref="UsageException">An option is not understood, or settings of the target are missing.</exception>
    public static async Task<int> RunAsync(string[] args)
    {
        var scenario = Named(args, out var rest);
        var own = OwnOptions.Take(ref rest);
        var run = new ScenarioRunner(args[0], scenario(own.Scenario), own.Target(), own.Scenario, own.HistoryPath);
        try
        {
            return await run.RunAsync(rest);
        }
        catch (Exception e) when (e is InvalidOperationException or HttpRequestException or TimeoutException or IOException or Verdicts.RedisErrorException or Npgsql.NpgsqlException or System.Net.Sockets.SocketException)
        {
            // The target refused or is not there, so the run says nothing about the promises.
            await Console.Error.WriteLineAsync($"the run could not be made: {e.Message}");
            return ExitCode.Inconclusive;
        }
    }

    private static Func<ScenarioOptions, LoadScenario> Named(string[] args, out string[] rest)
    {
        if (args is not [var name, .. var others] || !Scenarios.TryGetValue(name, out var scenario))
            throw new UsageException($"unknown scenario: {args.FirstOrDefault()}; there are {string.Join(", ", Scenarios.Keys)}");
        rest = others;
        return scenario.Make;
    }

    private sealed record OwnOptions(string Env, string? Api, ScenarioOptions Scenario, string HistoryPath)
    {
        public Target Target()
        {
            try
            {
                var target = Targets.Target.Load(Env, name => name == Targets.Target.ApiUrl && Api is not null ? Api : Environment.GetEnvironmentVariable(name));
                return target.Api.Scheme == "http" ? target : throw new UsageException($"{target.Api}: the Api's address must be one of http; TLS ends before it");
            }
            catch (InvalidDataException e)
            {
                throw new UsageException(e.Message);
            }
        }

        public static OwnOptions Take(ref string[] args)
        {
            string env = ".local/env", history = "";
            string? api = null;
            var options = new ScenarioOptions();
            var others = new List<string>();
            for (var i = 0; i < args.Length; i++)
            {
                string Value(string[] all) => ++i < all.Length ? all[i] : throw new UsageException($"{all[i - 1]}: its value is missing");
                switch (args[i])
                {
                    case "--env": env = Value(args); break;
                    case "--target": api = Value(args); break;
                    case "--history": history = Value(args); break;
                    case "--rate": options = options with { Rate = Number("--rate", Value(args), 0.001, 1_000_000) }; break;
                    case "--duration": options = options with { Duration = Seconds("--duration", Value(args), 0.1) }; break;
                    case "--warm-up": options = options with { WarmUp = Seconds("--warm-up", Value(args), 0) }; break;
                    case "--rest": options = options with { Rest = Seconds("--rest", Value(args), 1) }; break;
                    default: others.Add(args[i]); break;
                }
            }
            args = [.. others];
            return new OwnOptions(env, api, options, history.Length > 0 ? history : Path.Combine(Path.GetTempPath(), $"flashsale-history-{Environment.ProcessId}"));
        }

        private static TimeSpan Seconds(string option, string text, double least) => TimeSpan.FromSeconds(Number(option, text, least, 864_000));

        private static double Number(string option, string text, double least, double most) =>
            double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most
                ? number : throw new UsageException($"{option} {text}: must be a number from {least} to {most}");
    }
}
