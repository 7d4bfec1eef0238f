using FlashSale.LoadTests;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Faults;
using FlashSale.LoadTests.Planning;
using FlashSale.LoadTests.Reports;
using FlashSale.LoadTests.Scenarios;

const string Usage = """
    usage: FlashSale.LoadTests COMMAND …
      run SCENARIO [--env FILE] [--target URL] [--rate N] [--duration S] [--warm-up S] [--rest S] [--history FILE] [--thresholds FILE] [--seed N]
          [--report-folder FOLDER] [--report-file NAME] [--report-formats html,md,json] [--no-reports]
          Runs a scenario against a sale of its own and judges it. FILE holds addresses and secrets as scripts/up.sh writes them; the environment wins.
      check SCENARIO …
          Says whether the arguments of such a run are understood.
      scenarios
          Lists them.
      overload URL PATH SKU TOKENS SECONDS CONNECTIONS RATE…
          Shoppers on CONNECTIONS connections, each after its own Poisson clock, RATE purchases a second in all; one stage of SECONDS per RATE.
          Prints a line of figures per stage.
      chaos --list | --check ROW… | --root FOLDER --stack FOLDER --port-base N --about FILE --result FILE [--seed S] [--seeds N] ROW…
          Runs faults against a stack of its own; scripts/chaos.sh prepares it and takes it down.
      self [--rate N] [--seconds N] [--connections N] [--report-folder FOLDER]
          How many requests a second this generator sends on this machine, beside wrk (default: 20000 Poisson arrivals a second for 10 s).
      chart FILE.csv FILE.svg [--title TEXT] [--x LABEL] [--y LABEL] [--log-x] [--log-y]
          Draws a table: first line names, first column x.
      plan --visitors N --window SECONDS --stock N [--peak N] [--attempts N] [--pages N] [--sales N] [--drain SECONDS] [--utilisation N] [--cores N] [--connections N] [--figures FILE]
          What an event needs, by the figures measured (default: loadtests/results/figures.json).
      figures [--figures FILE] NAME=VALUE…
          Refreshes those.
    """;

try
{
    return args switch
    {
        ["run", .. var rest] => await ScenarioCommand.RunAsync(rest),
        ["check", .. var rest] => ScenarioCommand.Check(rest),
        ["scenarios"] => ScenarioCommand.List(),
        ["overload", .. var rest] => await Overload.RunAsync(rest),
        ["chaos", .. var rest] => await ChaosCommand.RunAsync(rest),
        ["self", .. var rest] => await SelfTest.RunAsync(rest),
        ["serve"] => await SelfTest.ServeAsync(),
        ["plan", .. var rest] => PlanCommand.Plan(rest),
        ["figures", .. var rest] => PlanCommand.Refresh(rest),
        ["chart", .. var rest] => await ChartCommand.RunAsync(rest),
        ["--help" or "-h", ..] => await TellAsync(Console.Out, Usage, ExitCode.Pass),
        [] => throw new UsageException("a command is missing"),
        _ => throw new UsageException($"unknown command: {args[0]}"),
    };
}
catch (UsageException e)
{
    return await TellAsync(Console.Error, $"{e.Message}\n(--help lists what there is)", ExitCode.Usage);
}
catch (OperationCanceledException)
{
    return await TellAsync(Console.Error, "broken off before there was anything to judge", ExitCode.Inconclusive);
}

static async Task<int> TellAsync(TextWriter to, string text, int code)
{
    await to.WriteLineAsync(text);
    return code;
}
