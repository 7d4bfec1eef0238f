using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

public sealed class ThresholdFileTests
{
    [Theory]
    [InlineData("ok.count == 90", true)]
    [InlineData("ok.count < 90", false)]
    [InlineData("fail.count >= 10", true)]
    [InlineData("fail.percent <= 9.9", false)]
    [InlineData("ok.latency.p99 < 60000", true)]
    [InlineData("ok.service.p999 >= 0", true)]
    [InlineData("generator.missed == 0", true)]
    [InlineData("generator.lag.p99 < -1", false)]
    [InlineData("ask: ok.count == 100", true)]
    [InlineData(" ask : fail.count > 0 ", false)]
    [InlineData("no such step: ok.count >= 0", false)]
    public async Task A_line_is_judged_by_the_figures(string line, bool holds)
    {
        var stats = (await RunAsync([])).ScenarioStats[0];
        var threshold = Assert.Single(ThresholdFile.Parse($$"""{"some": ["{{line}}"]}""", "file")["some"]);
        Assert.Equal(holds, threshold.Holds(stats));
    }

    [Theory]
    [InlineData("""{"some": ["ok.count = 1"]}""", "ok.count = 1")]
    [InlineData("""{"some": ["ok.latency.p98 < 1"]}""", "ok.latency.p98 is no metric")]
    [InlineData("""{"some": ["ask: generator.missed < 1"]}""", "generator.missed is no metric of a step")]
    [InlineData("""{"some": ["ok.count < many"]}""", "ok.count < many")]
    [InlineData("""{"some": "ok.count < 1"}""", "must be a JSON object")]
    [InlineData("""{"some": null}""", "must be a JSON object")]
    [InlineData("""{"some": [null]}""", "must be a JSON object")]
    [InlineData("null", "must be a JSON object")]
    [InlineData("{", "must be a JSON object")]
    public void A_file_that_is_not_understood_is_told_with_what_in_it(string json, string told)
    {
        var error = Assert.Throws<UsageException>(() => ThresholdFile.Parse(json, "limits.json"));
        Assert.Contains("limits.json", error.Message);
        Assert.Contains(told, error.Message);
    }

    [Fact]
    public async Task A_file_is_judged_beside_the_thresholds_in_code_and_passes_over_other_scenarios()
    {
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(path, """{"some": ["fail.count == 0"], "other": ["ok.count == 0"]}""");
            var result = await RunAsync(["--thresholds", path]);
            Assert.Equal([("stats => stats.AllRequestCount == 100", false), ("fail.count == 0", true)], result.Thresholds.Select(threshold => (threshold.CheckExpression, threshold.IsFailed)));
            Assert.Equal(ExitCode.Broken, result.ExitCode);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task A_file_that_is_not_there_is_told() =>
        Assert.Contains("/no/such/file", (await Assert.ThrowsAsync<UsageException>(() => RunAsync(["--thresholds", "/no/such/file"]))).Message);

    private static Task<RunResult> RunAsync(string[] args) => LoadRunner.RegisterScenarios(
            Scenario.Create("some", async context =>
            {
                await Step.Run("ask", context, () => Task.FromResult(Response.Ok()));
                return context.InvocationNumber % 10 == 0 ? Response.Fail() : Response.Ok();
            })
            .WithoutWarmUp()
            .WithGeneratorLimits(new GeneratorLimits { CopiesCap = 1, Wait = TimeSpan.FromMinutes(1), LagP99 = TimeSpan.FromMinutes(1) })
            .WithLoadSimulations(Simulation.Inject(1_000, TimeSpan.FromSeconds(1), TimeSpan.FromMilliseconds(100)))
            .WithThresholds(Threshold.Create(stats => stats.AllRequestCount == 100)))
        .WithoutReports().WithConsole(TextWriter.Null).RunAsync(args);
}
