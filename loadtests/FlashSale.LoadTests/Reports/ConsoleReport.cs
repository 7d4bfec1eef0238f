using System.Text;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>Reports a finished run in a terminal.</summary>
public static class ConsoleReport
{
    /// <summary>Returns the text of the report. Its last line tells how the run ended.</summary>
    public static string Of(RunResult result)
    {
        var text = new StringBuilder();
        foreach (var scenario in result.ScenarioStats)
        {
            text.AppendLine().AppendLine($"{scenario.ScenarioName}, {scenario.Duration.TotalSeconds:0.#} s, seed {result.Seed}");
            text.AppendLine($"  {"ms",-28} {"",-20} {"count",11} {"/s",10} {"p50",9} {"p90",9} {"p95",9} {"p99",9} {"p99.9",9} {"max",9}");
            foreach (var row in Rows.Of(scenario))
                text.AppendLine($"  {row.Name,-28} {row.From,-20} {row.Count,11:N0} {row.Rps,10:N1} {string.Join(' ', Rows.Cells(row.Latency, " ").Split(' ').Select(cell => cell.PadLeft(9)))}");
            foreach (var (name, code) in Rows.Codes(scenario).Take(30))
                text.AppendLine($"  {name}, {(code.IsError ? "failed" : "ok")} {code.StatusCode} {code.Message}: {code.Count:N0} ({code.Percent:0.00} %)");
            text.AppendLine($"  {Rows.Generator(scenario)}");
        }
        foreach (var (name, value) in result.Verdict.Facts) text.AppendLine($"{name}: {value}");
        foreach (var threshold in result.Thresholds) text.AppendLine($"{(threshold.IsFailed ? "BROKEN" : "held  ")} {threshold.ScenarioName}{(threshold.StepName is { } step ? $", {step}" : "")}: {threshold.CheckExpression}");
        foreach (var line in Judgement.Lines(result)) text.AppendLine(line);
        text.Append($"{Judgement.Of(result)} (exit code {result.ExitCode})");
        return text.ToString();
    }
}
