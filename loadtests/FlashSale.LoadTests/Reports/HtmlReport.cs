using System.Net;
using System.Text;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>Reports a run as one well-formed page. Its charts are inside, so a browser fetches nothing else.</summary>
public static class HtmlReport
{
    private const string Style = """
        body { font: 14px/1.5 sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
        h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; margin-top: 2.5rem } svg { display: block; max-width: 100%; height: auto; margin: 1rem 0 }
        table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right } th:first-child, td:first-child { text-align: left }
        .verdict { padding: .6rem 1rem; border-left: 6px solid; background: #f6f6f6 } .passed { border-color: #009e73 } .broken { border-color: #d55e00 } .inconclusive { border-color: #e69f00 }
        """;

    /// <summary>Returns the text of the file.</summary>
    public static string Of(RunResult result)
    {
        var page = new StringBuilder();
        var title = $"{result.TestSuite}: {result.TestName}, {result.StartedAt:yyyy-MM-dd HH:mm:ss} UTC";
        page.AppendLine("<!DOCTYPE html>");
        page.AppendLine($"<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><title>{Text(title)}</title><style>\n{Style}\n</style></head><body>");
        page.AppendLine($"<h1>{Text(title)}</h1>");
        page.AppendLine($"<div class=\"verdict {Judgement.Of(result).ToLowerInvariant()}\"><strong>{Judgement.Of(result)}</strong> (exit code {result.ExitCode}), seed {result.Seed}");
        Append(page, "ul", Judgement.Lines(result).Select(line => $"<li>{Text(line)}</li>"));
        page.AppendLine("</div>");
        Append(page, "table", result.Verdict.Facts.Select(fact => $"<tr><td>{Text(fact.Key)}</td><td>{Text(fact.Value)}</td></tr>"));
        foreach (var scenario in result.ScenarioStats) Append(page, scenario);
        Append(page, "table", result.Thresholds.Select(threshold => Cells([threshold.CheckExpression, threshold.ScenarioName, threshold.StepName ?? "", threshold.IsFailed ? "BROKEN" : "held"])), ["threshold", "scenario", "step", ""]);
        return page.AppendLine("</body></html>").ToString();
    }

    private static void Append(StringBuilder page, ScenarioStats scenario)
    {
        page.AppendLine($"<h2>{Text(scenario.ScenarioName)}, {scenario.Duration.TotalSeconds:0.#} s</h2>");
        Append(page, "table", Rows.Of(scenario).Select(row => Cells([row.Name, row.From, $"{row.Count:N0}", $"{row.Rps:N1}", .. Rows.Cells(row.Latency, " ").Split(' ')])),
            ["ms", "", "count", "/s", "p50", "p90", "p95", "p99", "p99.9", "max"]);
        page.AppendLine($"<p>{Text(Rows.Generator(scenario))} Percentiles are at most {Histogram.RelativeError:P1} above the exact ones.</p>");
        var time = new Axis("seconds");
        page.AppendLine(Chart.Lines("Throughput", time, new Axis("iterations a second"), Over(scenario, "ok", at => at.OkRps), Over(scenario, "failed", at => at.FailRps), Over(scenario, "missed", at => at.MissedRps)));
        page.AppendLine(Chart.Lines("Latency from the intended start", time, new Axis("milliseconds", IsLogarithmic: true), Over(scenario, "p50", at => at.P50Ms), Over(scenario, "p99", at => at.P99Ms), Over(scenario, "max", at => at.MaxMs)));
        page.AppendLine(Chart.Lines("Copies in flight", time, new Axis("copies"), Over(scenario, "in flight", at => at.InFlight)));
        page.AppendLine(Chart.Lines("Latency by percentile", Percentiles, new Axis("milliseconds", IsLogarithmic: true), [.. Curves(scenario)]));
        Append(page, "table", Rows.Codes(scenario).Select(row => Cells([row.Name, row.Code.StatusCode, row.Code.IsError ? "failed" : "ok", row.Code.Message, $"{row.Code.Count:N0}", $"{row.Code.Percent:0.00}"])),
            ["of", "status", "", "message", "count", "%"]);
    }

    // The axis gives equal room to each nine of the percentiles.
    private static Axis Percentiles { get; } = new("percent", Ticks: [.. new[] { 0, 90, 99, 99.9, 99.99, 99.999 }.Select(percent => (Nines(percent), $"{percent}"))]);

    private static double Nines(double percent) => -Math.Log10(1 - percent / 100);

    private static IEnumerable<Series> Curves(ScenarioStats scenario) => scenario.StepStats.Prepend(scenario).SelectMany(step => new[]
    {
        new Series($"{step.StepName}, intended", Curve(step.Ok.Latency)),
        new Series($"{step.StepName}, actual", Curve(step.Ok.ServiceTime)),
    });

    private static (double, double)[] Curve(LatencyStats latency) => [.. latency.Curve.Select(point => (Nines(point.Percent), point.Ms))];

    private static Series Over(ScenarioStats scenario, string name, Func<TimelinePoint, double> value) => new(name, [.. scenario.Timeline.Select(point => (point.AtSeconds, value(point)))]);

    private static string Cells(IEnumerable<string> cells) => $"<tr>{string.Concat(cells.Select(cell => $"<td>{Text(cell)}</td>"))}</tr>";

    private static void Append(StringBuilder page, string element, IEnumerable<string> rows, string[]? heads = null)
    {
        var all = rows.ToArray();
        if (all.Length == 0) return;
        page.Append($"<{element}>");
        if (heads is not null) page.Append($"<tr>{string.Concat(heads.Select(head => $"<th>{Text(head)}</th>"))}</tr>");
        page.AppendLine($"{string.Join('\n', all)}</{element}>");
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
