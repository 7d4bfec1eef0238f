using FlashSale.LoadTests.Engine;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>
/// Runs scenarios by the engine, and checks the measurements, the missed arrivals and the end of a run.
/// </summary>
public sealed class EngineTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(300);

    // Only one copy runs at a time, so that arrivals wait for it. A machine under tests may be late, so the limits are
    // wide.
    private static readonly GeneratorLimits OneAtATime = new() { CopiesCap = 1, Wait = TimeSpan.FromMinutes(1), LagP99 = TimeSpan.FromMinutes(1) };
    private static readonly GeneratorLimits Patient = new() { LagP99 = TimeSpan.FromMinutes(1) };

    [Fact]
    public async Task A_server_that_stalls_once_shows_in_the_latency_from_the_intended_start_and_hides_in_the_other()
    {
        var result = await RunAsync(Scenario.Create("stalls", async context =>
        {
            await Step.Run("ask", context, async () =>
            {
                if (context.InvocationNumber == 20) await Task.Delay(500);
                return Response.Ok();
            });
            return Response.Ok();
        }).WithGeneratorLimits(OneAtATime), Simulation.Inject(100, Second, Second));

        foreach (var stats in result.ScenarioStats[0].StepStats.Prepend(result.ScenarioStats[0]))
        {
            Assert.Equal(100, stats.Ok.Request.Count);
            // One of a hundred iterations was slow, and half of them fell due meanwhile.
            Assert.InRange(stats.Ok.ServiceTime.Percent90, 0, 100);
            Assert.InRange(stats.Ok.Latency.Percent90, 250, 10_000);
            Assert.InRange(stats.Ok.ServiceTime.MaxMs, 490, 10_000);
        }
    }

    [Fact]
    public async Task A_later_step_is_not_blamed_for_a_late_iteration()
    {
        var result = await RunAsync(Scenario.Create("two steps", async context =>
        {
            await Step.Run("first", context, async () =>
            {
                if (context.InvocationNumber == 1) await Task.Delay(500);
                return Response.Ok();
            });
            return await Step.Run("second", context, () => Task.FromResult(Response.Ok()));
        }).WithGeneratorLimits(OneAtATime), Simulation.Inject(20, Second, Second));
        Assert.InRange(result.ScenarioStats[0].GetStepStats("first").Ok.Latency.Percent50, 5, 10_000);
        var second = result.ScenarioStats[0].GetStepStats("second").Ok;
        Assert.Equal(second.ServiceTime.Curve, second.Latency.Curve);
    }

    [Fact]
    public async Task Arrivals_beyond_the_copies_that_may_be_in_flight_are_missed_and_make_the_run_inconclusive()
    {
        var gate = new TaskCompletionSource();
        var result = await RunAsync(Scenario.Create("stuck", async context =>
        {
            if (context.ScenarioInfo.InstanceNumber == 4) gate.SetResult();
            await gate.Task;
            await Task.Delay(Second);
            return Response.Ok();
        }).WithGeneratorLimits(Patient with { CopiesCap = 5 }), Simulation.Inject(100, Second, Short));
        var generator = result.ScenarioStats[0].Generator;
        Assert.Equal((30, 5, 25, 5), (generator.Intended, generator.Started, generator.Missed, generator.MaxInFlight));
        Assert.Equal(ExitCode.Inconclusive, result.ExitCode);
        Assert.Contains("25 of 30 arrivals were missed", Assert.Single(result.FellBehind));
    }

    [Fact]
    public async Task A_generator_that_begins_late_says_so_and_the_run_is_inconclusive_whatever_the_thresholds_say()
    {
        var result = await RunAsync(
            Scenario.Create("late", async _ =>
            {
                await Task.Delay(30);
                return Response.Ok();
            }).WithGeneratorLimits(OneAtATime with { LagP99 = TimeSpan.FromMilliseconds(20) }).WithThresholds(Threshold.Create(stats => stats.Ok.Request.Count < 0)),
            Simulation.Inject(100, Second, Short));
        Assert.Contains("arrivals began late", Assert.Single(result.FellBehind));
        Assert.True(Assert.Single(result.Thresholds).IsFailed);
        Assert.Equal(ExitCode.Inconclusive, result.ExitCode);
    }

    [Fact]
    public async Task Iterations_that_do_not_end_are_cancelled_in_time_and_make_the_run_inconclusive()
    {
        var result = await RunAsync(Scenario.Create("endless", async context =>
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, context.ScenarioCancellationToken);
            return Response.Ok();
        }).WithGeneratorLimits(Patient with { CompletionTimeout = Short }), Simulation.Inject(10, Second, Short));
        Assert.Equal(3, result.ScenarioStats[0].Generator.Unfinished);
        Assert.Equal((ExitCode.Inconclusive, 3), (result.ExitCode, result.ScenarioStats[0].AllFailCount));
    }

    [Fact]
    public async Task Copies_that_go_round_begin_again_as_soon_as_they_are_done()
    {
        int now = 0, most = 0;
        var numbers = new System.Collections.Concurrent.ConcurrentDictionary<int, long>();
        var result = await RunAsync(Scenario.Create("round", async context =>
        {
            most = Math.Max(most, Interlocked.Increment(ref now));
            numbers[context.ScenarioInfo.InstanceNumber] = context.InvocationNumber;
            await Task.Delay(1);
            Interlocked.Decrement(ref now);
            return Response.Ok();
        }), Simulation.KeepConstant(3, Short));
        Assert.Equal(3, most);
        Assert.Equal([0, 1, 2], numbers.Keys.Order());
        Assert.All(numbers.Values, invocations => Assert.InRange(invocations, 2, 400));
        Assert.Equal(numbers.Values.Sum(), result.AllOkCount);
    }

    [Fact]
    public async Task A_copy_has_data_of_its_iteration_only_and_numbers_of_its_own()
    {
        var found = 0;
        var result = await RunAsync(Scenario.Create("data", context =>
        {
            if (context.Data.ContainsKey("left")) Interlocked.Increment(ref found);
            context.Data["left"] = context.Random.Next();
            return Task.FromResult<IResponse>(Response.Ok());
        }), Simulation.Inject(200, Second, Short));
        Assert.Equal((60, 0), (result.AllOkCount, found));
    }

    [Fact]
    public async Task Responses_are_counted_by_side_status_and_size_and_an_exception_is_a_failure()
    {
        var result = await RunAsync(Scenario.Create("answers", async context =>
        {
            var answer = await Step.Run("ask", context, () => (context.InvocationNumber % 4) switch
            {
                0 => Task.FromResult(Response.Ok(payload: "x", statusCode: "202", sizeBytes: 100)),
                1 => Task.FromResult(Response.Fail<string>(statusCode: "503", message: "overloaded", sizeBytes: 20)),
                2 => throw new InvalidOperationException("no answer"),
                _ => Task.FromResult(Response.Ok(payload: "y", statusCode: "202", sizeBytes: 300)),
            });
            return answer.IsError ? Response.Fail(answer.StatusCode) : Response.Ok(answer.Payload.Value);
        }).WithGeneratorLimits(OneAtATime), Simulation.Inject(40, Second, Second));

        var stats = result.ScenarioStats[0];
        Assert.Equal((20, 20), (stats.AllOkCount, stats.AllFailCount));
        Assert.Equal(50, stats.Fail.Request.Percent);
        Assert.Equal(20 / stats.Duration.TotalSeconds, stats.Ok.Request.RPS);
        var step = stats.GetStepStats("ask");
        Assert.Equal((100, 200, 300, 4_000), (step.Ok.DataTransfer.MinBytes, step.Ok.DataTransfer.MeanBytes, step.Ok.DataTransfer.MaxBytes, step.Ok.DataTransfer.AllBytes));
        Assert.Equal(
            [("202", false, "", 20), ("503", true, "overloaded", 10), ("exception", true, "", 10)],
            step.StatusCodes.Select(code => (code.StatusCode, code.IsError, code.Message, code.Count)).Order());
        Assert.Contains(stats.StatusCodes, code => code is { StatusCode: "exception", Message: nameof(InvalidOperationException), Count: 10 });
    }

    [Fact]
    public async Task Status_codes_that_never_repeat_do_not_fill_the_memory()
    {
        var next = 0;
        var result = await RunAsync(Scenario.Create("codes", _ => Task.FromResult<IResponse>(Response.Ok($"{Interlocked.Increment(ref next)}"))), Simulation.Inject(1_000, Second, Short));
        var codes = result.ScenarioStats[0].StatusCodes;
        Assert.InRange(codes.Count, 50, 110);
        Assert.Equal(300, codes.Sum(code => code.Count));
        Assert.Contains(codes, code => code.Message == "others");
    }

    [Fact]
    public async Task What_warms_up_does_not_count()
    {
        var all = 0;
        var result = await LoadRunner.RegisterScenarios(
            Scenario.Create("warm", _ => Task.FromResult<IResponse>(Response.Ok($"{Interlocked.Increment(ref all)}")))
                .WithWarmUpDuration(Short).WithLoadSimulations(Simulation.RampingInject(100, Second, Short))).WithoutReports().WithConsole(TextWriter.Null).RunAsync([]);
        // The warm-up runs at the rate that the ramp comes to. The load is the ramp.
        Assert.Equal((15, 45), (result.AllOkCount, all));
    }

    [Fact]
    public async Task Scenarios_run_side_by_side_prepared_before_and_cleaned_up_after_the_verdict()
    {
        var order = new List<string>();
        var scenarios = new[] { "a", "b" }.Select(name => Simple(name)
            .WithInit(_ => Said($"init {name}"))
            .WithClean(_ => Said($"clean {name}"))).ToArray();
        var result = await LoadRunner.RegisterScenarios(scenarios).WithoutReports().WithConsole(TextWriter.Null).WithVerdict(async (stats, _) =>
        {
            await Said($"verdict on {stats.AllOkCount}");
            return RunVerdict.None;
        }).RunAsync([]);
        Assert.Equal(["init a", "init b", "verdict on 60", "clean a", "clean b"], order);
        Assert.Equal(30, result.ScenarioStats.Get("b").AllOkCount);

        Task Said(string what)
        {
            order.Add(what);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task Preparing_that_fails_ends_the_run_and_is_cleaned_up_after()
    {
        var cleaned = false;
        var run = LoadRunner.RegisterScenarios(Simple("bad")
            .WithInit(_ => throw new InvalidOperationException("no sale"))
            .WithClean(_ =>
            {
                cleaned = true;
                return Task.CompletedTask;
            })).WithoutReports().WithConsole(TextWriter.Null).RunAsync([]);
        await Assert.ThrowsAsync<InvalidOperationException>(() => run);
        Assert.True(cleaned);
    }

    [Fact]
    public async Task A_run_passes_when_all_thresholds_hold_and_is_broken_when_one_does_not()
    {
        var scenario = Simple("judged").WithGeneratorLimits(Patient);
        Assert.Equal(ExitCode.Pass, (await RunAsync(scenario.WithThresholds(Threshold.Create(stats => stats.Ok.Request.Count == 30)))).ExitCode);
        var broken = await RunAsync(scenario.WithThresholds(Threshold.Create(stats => stats.Ok.Request.Count == 30), Threshold.Create(stats => stats.Ok.Request.Percent < 50)));
        Assert.Equal(ExitCode.Broken, broken.ExitCode);
        Assert.Equal("stats => stats.Ok.Request.Percent < 50", broken.Thresholds.Single(threshold => threshold.IsFailed).CheckExpression);
        Assert.Equal(ExitCode.Broken, (await RunAsync(scenario.WithThresholds(Threshold.Create("no such step", step => step.Fail.Request.Count == 0)))).ExitCode);
    }

    [Theory]
    [InlineData(true, false, ExitCode.Broken)]
    [InlineData(true, true, ExitCode.Broken)]
    [InlineData(false, true, ExitCode.Inconclusive)]
    [InlineData(false, false, ExitCode.Pass)]
    public async Task A_broken_promise_weighs_more_than_an_inconclusive_run(bool isBroken, bool isInconclusive, int expected)
    {
        var result = await LoadRunner.RegisterScenarios(Simple("promised").WithGeneratorLimits(Patient)).WithoutReports().WithConsole(TextWriter.Null)
            .WithVerdict((_, _) => Task.FromResult(new RunVerdict(isBroken ? ["I1: oversold"] : [], isInconclusive ? ["no rest"] : [], []))).RunAsync([]);
        Assert.Equal(expected, result.ExitCode);
    }

    [Fact]
    public async Task A_scenario_that_fails_too_often_is_ended_early()
    {
        var result = await RunAsync(
            Scenario.Create("fails", _ => Task.FromResult<IResponse>(Response.Fail("no"))).WithMaxFailCount(10), Simulation.Inject(100, Second, TimeSpan.FromMinutes(5)));
        Assert.InRange(result.AllFailCount, 10, 1_000);
        Assert.Contains("10 iterations have failed", Assert.Single(result.BrokenOff));
        Assert.Equal(ExitCode.Inconclusive, result.ExitCode);
    }

    [Fact]
    public async Task A_threshold_checked_under_way_ends_a_scenario_and_is_broken()
    {
        var result = await RunAsync(
            Simple("hopeless").WithGeneratorLimits(Patient).WithThresholds(Threshold.Create(stats => stats.Ok.Request.Count < 0, abortWhenErrorCount: 1)),
            Simulation.Inject(100, Second, TimeSpan.FromMinutes(5)));
        Assert.Equal((1, ExitCode.Broken), (Assert.Single(result.Thresholds).ErrorCount, result.ExitCode));
    }

    [Fact]
    public async Task A_run_that_is_cancelled_ends_at_once_and_says_nothing()
    {
        using var cancel = new CancellationTokenSource();
        var result = await LoadRunner.RegisterScenarios(Scenario.Create("cancelled", async context =>
        {
            await cancel.CancelAsync();
            return Response.Ok();
        }).WithoutWarmUp().WithLoadSimulations(Simulation.Inject(10, Second, TimeSpan.FromMinutes(5)))).WithoutReports().WithConsole(TextWriter.Null).RunAsync([], cancel.Token);
        Assert.Equal(ExitCode.Inconclusive, result.ExitCode);
    }

    [Fact]
    public async Task A_judge_that_is_cancelled_leaves_the_run_inconclusive()
    {
        using var cancel = new CancellationTokenSource();
        var result = await LoadRunner.RegisterScenarios(Simple("judged").WithGeneratorLimits(Patient)).WithoutReports().WithConsole(TextWriter.Null).WithVerdict(async (_, token) =>
        {
            await cancel.CancelAsync();
            token.ThrowIfCancellationRequested();
            return RunVerdict.None;
        }).RunAsync([], cancel.Token);
        Assert.Equal((30, ExitCode.Inconclusive), (result.AllOkCount, result.ExitCode));
        Assert.Equal("its judge was broken off", Assert.Single(result.Inconclusive));
    }

    [Fact]
    public async Task A_scenario_that_only_prepares_runs_beside_one_that_loads()
    {
        var prepared = false;
        var result = await LoadRunner.RegisterScenarios(
            Scenario.Empty("prepares").WithInit(_ =>
            {
                prepared = true;
                return Task.CompletedTask;
            }),
            Simple("loads").WithGeneratorLimits(Patient).WithThresholds(Threshold.Create(stats => stats.AllOkCount == 30))).WithoutReports().WithConsole(TextWriter.Null).RunAsync([]);
        Assert.Equal((true, ExitCode.Pass, "loads"), (prepared, result.ExitCode, Assert.Single(result.ScenarioStats).ScenarioName));
    }

    [Theory]
    [InlineData("--seed", "x")]
    [InlineData("--thresholds")]
    [InlineData("--report-formats", "pdf")]
    [InlineData("--rate", "5")]
    public async Task An_option_that_is_not_understood_is_told(params string[] args)
    {
        var told = await Assert.ThrowsAsync<UsageException>(() => LoadRunner.RegisterScenarios(Simple("options")).RunAsync(args));
        Assert.Contains(args[0], told.Message);
    }

    [Fact]
    public void Two_scenarios_of_one_name_are_refused() => Assert.Throws<ArgumentException>(() => LoadRunner.RegisterScenarios(Simple("same"), Simple("same")));

    private static ScenarioProps Simple(string name) =>
        Scenario.Create(name, _ => Task.FromResult<IResponse>(Response.Ok())).WithoutWarmUp().WithLoadSimulations(Simulation.Inject(100, Second, Short));

    private static Task<RunResult> RunAsync(ScenarioProps scenario, params LoadSimulation[] load)
    {
        if (load.Length > 0) scenario = scenario.WithLoadSimulations(load);
        return LoadRunner.RegisterScenarios(scenario.WithoutWarmUp()).WithoutReports().WithConsole(TextWriter.Null).RunAsync([]);
    }
}
