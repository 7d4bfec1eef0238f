using System.Text;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>Reports a run as Markdown tables.</summary>
public static class MarkdownReport
{
    /// <summary>Returns the text of the file.</summary>
    public static string Of(RunResult result)
    {
        var text = new StringBuilder();
        text.AppendLine($"# {result.TestSuite}: {result.TestName}, {result.StartedAt:yyyy-MM-dd HH:mm:ss} UTC").AppendLine();
        text.AppendLine($"**{Judgement.Of(result)}** (exit code {result.ExitCode}), seed {result.Seed}");
        foreach (var line in Judgement.Lines(result)) text.AppendLine($"- {line}");
        text.AppendLine();
        foreach (var (name, value) in result.Verdict.Facts) text.AppendLine($"- {name}: {value}");
        foreach (var scenario in result.ScenarioStats) Append(text, scenario);
        if (result.Thresholds.Count > 0)
        {
            text.AppendLine().AppendLine("| threshold | scenario | step | |").AppendLine("|---|---|---|---|");
            foreach (var threshold in result.Thresholds)
                text.AppendLine($"| `{Cell(threshold.CheckExpression)}` | {Cell(threshold.ScenarioName)} | {Cell(threshold.StepName ?? "")} | {(threshold.IsFailed ? "BROKEN" : "held")} |");
        }
        return text.ToString();
    }

    private static void Append(StringBuilder text, ScenarioStats scenario)
    {
        text.AppendLine().AppendLine($"## {scenario.ScenarioName}, {scenario.Duration.TotalSeconds:0.#} s").AppendLine();
        text.AppendLine("| ms | | count | /s | p50 | p90 | p95 | p99 | p99.9 | max |").AppendLine("|---|---|---|---|---|---|---|---|---|---|");
        foreach (var row in Rows.Of(scenario)) text.AppendLine($"| {Cell(row.Name)} | {row.From} | {row.Count:N0} | {row.Rps:0.0} | {Rows.Cells(row.Latency, " | ")} |");
        text.AppendLine().AppendLine($"{Rows.Generator(scenario)} Percentiles are at most {Histogram.RelativeError:P1} above the exact ones.");
        var codes = Rows.Codes(scenario).ToArray();
        if (codes.Length == 0) return;
        text.AppendLine().AppendLine("| of | status | | message | count | % |").AppendLine("|---|---|---|---|---|---|");
        foreach (var (name, code) in codes)
            text.AppendLine($"| {Cell(name)} | {Cell(code.StatusCode)} | {(code.IsError ? "failed" : "ok")} | {Cell(code.Message)} | {code.Count:N0} | {code.Percent:0.00} |");
    }

    private static string Cell(string text) => text.Replace("|", "\\|").ReplaceLineEndings(" ");
}
