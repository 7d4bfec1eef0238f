using System.Diagnostics;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using FlashSale.LoadTests.Engine;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace FlashSale.LoadTests;

/// <summary>
/// Measures how many requests a second this generator sends to a Kestrel that does nothing, in a process of its own on
/// the same cores. First it sends as many as it can, then an open load of Poisson arrivals. For comparison it runs wrk,
/// where it is installed, on as many connections.
/// </summary>
public static partial class SelfTest
{
    private static readonly byte[] Request = Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");

    // The answer is as large as the answer to a purchase.
    private static readonly byte[] Answer = Encoding.ASCII.GetBytes($"{{\"a\":\"{new string('x', 370)}\"}}");

    /// <summary>
    /// Runs the command <c>self [--rate N] [--seconds N] [--connections N] [--report-folder FOLDER]</c>. It passes when
    /// every arrival of the open load was sent in time and answered.
    /// </summary>
    public static async Task<int> RunAsync(string[] args)
    {
        var (rate, seconds, connections, folder) = (20_000, 10, 64, (string?)null);
        for (var i = 0; i < args.Length; i += 2)
        {
            switch (args[i])
            {
                case "--rate": rate = Number(args, i); break;
                case "--seconds": seconds = Number(args, i); break;
                case "--connections": connections = Number(args, i); break;
                case "--report-folder": folder = i + 1 < args.Length ? args[i + 1] : throw new UsageException("--report-folder: its value is missing"); break;
                default: throw new UsageException($"unknown argument: {args[i]}");
            }
        }
        using var server = StartServer();
        try
        {
            var address = new Uri(await server.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("The server did not start."));
            await using var wire = new HttpWire(address, connections);
            await wire.ConnectAsync(connections, CancellationToken.None);
            var most = await MeasureAsync("closed", wire, folder, seconds, Simulation.KeepConstant(connections, TimeSpan.FromSeconds(seconds)));
            var wrk = await WrkAsync(address, connections, seconds);
            var open = await MeasureAsync("open", wire, folder, seconds, Simulation.Inject(rate, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(seconds), Arrivals.Poisson));
            var stats = open.ScenarioStats[0];
            Console.WriteLine($"closed, {connections} connections: {most.ScenarioStats[0].Ok.Request.RPS:N0} requests/s; wrk -t2 -c{connections}: {wrk}");
            Console.WriteLine($"open, {rate:N0} Poisson arrivals/s meant: {stats.Ok.Request.RPS:N0} requests/s answered, {stats.Generator.Missed:N0} missed, begun late by p99 {stats.Generator.Lag.Percent99:0.00} ms");
            return open.ExitCode;
        }
        finally
        {
            // The server ends with its standard input.
            server.StandardInput.Close();
            await server.WaitForExitAsync();
        }
    }

    /// <summary>
    /// Runs the command <c>serve</c>: serves answers on a free port until its standard input ends. It prints its
    /// address first.
    /// </summary>
    public static async Task<int> ServeAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        builder.Services.Configure<KestrelServerOptions>(kestrel => kestrel.AddServerHeader = false);
        builder.Logging.ClearProviders();
        await using var app = builder.Build();
        app.Run(context =>
        {
            context.Response.ContentLength = Answer.Length;
            return context.Response.Body.WriteAsync(Answer, 0, Answer.Length);
        });
        await app.StartAsync();
        Console.WriteLine(app.Urls.First());
        while (await Console.In.ReadLineAsync() is not null)
        {
        }
        await app.StopAsync();
        return ExitCode.Pass;
    }

    private static int Number(string[] args, int at) =>
        at + 1 < args.Length && int.TryParse(args[at + 1], out var number) && number > 0 ? number : throw new UsageException($"{args[at]}: must be a whole number from 1 on");

    private static Task<RunResult> MeasureAsync(string name, HttpWire wire, string? folder, int seconds, LoadSimulation load) =>
        LoadRunner.RegisterScenarios(
            Scenario.Create(name, async context =>
            {
                var answer = await wire.SendAsync(Request, TimeSpan.FromSeconds(5), context.ScenarioCancellationToken);
                return answer.Status == StatusCodes.Status200OK ? Response.Ok() : Response.Fail(answer.Failure.ToString());
            })
            .WithWarmUpDuration(TimeSpan.FromSeconds(Math.Min(3, seconds)))
            .WithLoadSimulations(load)
            .WithThresholds(Threshold.Create(stats => stats.Fail.Request.Count == 0)))
        .WithTestSuite("self").WithTestName(name).RunAsync(folder is null ? ["--no-reports"] : ["--report-folder", folder]);

    private static Process StartServer()
    {
        var program = Environment.ProcessPath!;
        var start = new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet") start.ArgumentList.Add(Assembly.GetExecutingAssembly().Location);
        start.ArgumentList.Add("serve");
        return Process.Start(start)!;
    }

    private static async Task<string> WrkAsync(Uri address, int connections, int seconds)
    {
        try
        {
            using var wrk = Process.Start(new ProcessStartInfo("wrk", ["-t2", $"-c{connections}", $"-d{seconds}s", address.ToString()]) { RedirectStandardOutput = true, UseShellExecute = false })!;
            var said = await wrk.StandardOutput.ReadToEndAsync();
            await wrk.WaitForExitAsync();
            return RequestsPerSecond().Match(said) is { Success: true } match ? $"{double.Parse(match.Groups["rate"].Value):N0} requests/s" : "said nothing";
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "not installed";
        }
    }

    [GeneratedRegex(@"Requests/sec:\s+(?<rate>[\d.]+)", RegexOptions.ExplicitCapture, 1_000)]
    private static partial Regex RequestsPerSecond();
}
