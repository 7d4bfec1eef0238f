using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Reports;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>
/// Tests the reports of one run. Its texts would break each of the reports if they went in as they are.
/// </summary>
public sealed class ReportTests : IAsyncLifetime
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly string _folder = Directory.CreateTempSubdirectory("reports-").FullName;
    private readonly StringWriter _console = new();
    private RunResult _result = null!;

    public async ValueTask InitializeAsync() => _result = await LoadRunner.RegisterScenarios(
            Scenario.Create("<buy> & | pay", async context =>
            {
                var step = await Step.Run("step \"1\"", context, () => Task.FromResult(context.InvocationNumber % 3 == 0 ? Response.Fail("503", "a|b <script>\n") : Response.Ok("202", 380)));
                return step.IsError ? Response.Fail(step.StatusCode) : Response.Ok("202");
            })
            .WithoutWarmUp()
            .WithGeneratorLimits(new GeneratorLimits { LagP99 = TimeSpan.FromMinutes(1) })
            .WithLoadSimulations(Simulation.Inject(100, Second, 1.2 * Second))
            .WithThresholds(Threshold.Create(stats => stats.Ok.Request.Count < 0 && true), Threshold.Create("step \"1\"", step => step.AllRequestCount == 120)))
        .WithTestName("reported").WithReportFolder(_folder).WithReportFileName("run").WithConsole(_console).WithSeed(42)
        .WithVerdict((_, _) => Task.FromResult(new RunVerdict(["I1: <oversold> & by 2"], [], [new("persisted end to end", "15,900/s")])))
        .RunAsync([]);

    public ValueTask DisposeAsync()
    {
        _console.Dispose();
        if (Directory.Exists(_folder)) Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public void The_json_parses_and_holds_every_figure()
    {
        using var json = JsonDocument.Parse(Text("json"));
        var root = json.RootElement;
        Assert.Equal((1, 42, 120), (root.GetProperty("exitCode").GetInt32(), root.GetProperty("seed").GetInt32(), root.GetProperty("allRequestCount").GetInt32()));
        Assert.Equal("I1: <oversold> & by 2", root.GetProperty("verdict").GetProperty("violations")[0].GetString());
        var scenario = root.GetProperty("scenarioStats")[0];
        Assert.Equal(_result.ScenarioStats[0].Ok.Latency.Percent999, scenario.GetProperty("ok").GetProperty("latency").GetProperty("percent999").GetDouble());
        Assert.Equal(_result.ScenarioStats[0].Generator.Intended, scenario.GetProperty("generator").GetProperty("intended").GetInt64());
        Assert.True(scenario.GetProperty("ok").TryGetProperty("serviceTime", out _));
        Assert.NotEmpty(scenario.GetProperty("timeline").EnumerateArray());
        Assert.Equal("step \"1\"", scenario.GetProperty("stepStats")[0].GetProperty("stepName").GetString());
        Assert.Equal([true, false], root.GetProperty("thresholds").EnumerateArray().Select(threshold => threshold.GetProperty("isFailed").GetBoolean()));
    }

    [Fact]
    public void The_html_is_well_formed_has_its_charts_in_it_and_fetches_nothing()
    {
        var page = XDocument.Parse(Text("html"));
        Assert.Equal(4, page.Descendants(Svg + "svg").Count());
        Assert.DoesNotContain(page.Descendants(), element => element.Name.LocalName is "script" or "link" or "img" or "iframe");
        Assert.DoesNotContain(page.Descendants().Attributes(), attribute => attribute.Name.LocalName is "src" or "href");
        Assert.Contains(page.Descendants("li"), item => item.Value == "violation: I1: <oversold> & by 2");
        Assert.Contains(page.Descendants("h2"), head => head.Value.StartsWith("<buy> & | pay", StringComparison.Ordinal));
        Assert.Contains(page.Descendants("td"), cell => cell.Value == "15,900/s");
    }

    [Fact]
    public void The_markdown_has_tables_whose_rows_all_have_as_many_cells_as_their_head()
    {
        var lines = Text("md").Split('\n');
        Assert.Contains(lines, line => line.Contains("a\\|b <script>", StringComparison.Ordinal));
        Assert.Contains("- violation: I1: <oversold> & by 2", lines);
        var cells = 0;
        foreach (var line in lines)
        {
            if (!line.StartsWith('|')) cells = 0;
            else if (cells == 0) cells = Cells(line);
            else Assert.Equal(cells, Cells(line));
        }

        static int Cells(string line) => Regex.Count(line, @"(?<!\\)\|");
    }

    [Fact]
    public void The_console_ends_with_how_the_run_ended()
    {
        var lines = _console.ToString().TrimEnd().Split('\n').Select(line => line.TrimEnd()).ToArray();
        var end = Array.IndexOf(lines, "Broken (exit code 1)");
        Assert.True(end > 0);
        Assert.All(lines[(end + 1)..], line => Assert.StartsWith("written to ", line));
        Assert.Contains(lines, line => line.Contains("from intended start", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("BROKEN <buy> & | pay: stats => stats.Ok", StringComparison.Ordinal));
    }

    [Fact]
    public void All_reports_tell_both_latencies_and_the_error_of_their_percentiles() => Assert.All(["html", "md"], format =>
    {
        Assert.Contains("from intended start", Text(format));
        Assert.Contains("from actual start", Text(format));
        Assert.Contains("at most 0.8", Text(format));
    });

    private string Text(string format) => File.ReadAllText(Path.Combine(_folder, $"run.{format}"));
}
