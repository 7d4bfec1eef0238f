using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace FlashSale.LoadTests.Faults;

/// <summary>Hosts whose clocks are wrong, or whose settings change all the time.</summary>
public static class HostFaults
{
    private static readonly TimeSpan Lasting = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan Shift = TimeSpan.FromMinutes(5);

    public static IReadOnlyList<Row> Rows { get; } =
    [
        new("api-clocks", "two Apis sell, the clock of one 5 minutes ahead, that of the other 5 minutes behind (wall clocks, by libfaketime; Redis, Postgres and Worker keep theirs)")
        {
            Prepare = async fault => fault.Apis = [await StartShiftedAsync(fault, 1, Shift), await StartShiftedAsync(fault, 2, -Shift)],
            Inject = async fault =>
            {
                using var http = new HttpClient();
                foreach (var api in fault.Apis)
                {
                    using var response = await http.GetAsync(new Uri(api, "/api/v1/sales"));
                    var off = response.Headers.Date - TimeProvider.System.GetUtcNow();
                    if (off?.Duration() < Shift - TimeSpan.FromSeconds(10)) throw new InconclusiveException($"the clock at {api} is only {off} off.");
                    fault.TookHold($"{api} is {off?.TotalSeconds:+0;-0} s off");
                }
            },
            Lasts = TimeSpan.FromSeconds(6),
        },
        new("limits-reloaded", "an operator sets other rate limits every second for 8 s")
        {
            Inject = async fault =>
            {
                using var http = new HttpClient { BaseAddress = fault.Target.Admin };
                http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", fault.Target.AdminToken);
                var changes = 0;
                for (var clock = Stopwatch.StartNew(); clock.Elapsed < Lasting; await Task.Delay(TimeSpan.FromSeconds(1)))
                {
                    using var body = new StringContent(Limits(capacity: 1_000 + changes), Encoding.UTF8, "application/json");
                    using var response = await http.PutAsync("/api/v1/ops/limits", body);
                    if (response.StatusCode == HttpStatusCode.OK) changes++;
                }
                if (changes >= 5) fault.TookHold($"{changes} changes were taken");
            },
        },
    ];

    private static string Limits(int capacity) => JsonSerializer.Serialize(new
    {
        rules = new object[]
        {
            new { name = "shopper", match = new { method = "POST", path = "/api/v1/sales/{saleId}/orders" }, partition = "user", scope = "node", capacity, refillPerSecond = 100 },
            new { name = "everybody", match = new { path = "/api/**" }, partition = "global", scope = "cluster", capacity = capacity * 100, refillPerSecond = 100_000, onStoreFailure = "local" },
        },
        allow = new { cidrs = Array.Empty<string>(), users = Array.Empty<string>(), clients = Array.Empty<string>() },
    });

    // The settings of the Api that runs, on another port and under another clock. Timers go by the monotonic clock, which stays true: a wrong
    // wall clock is what broken time servers make, a wrong monotonic one is nobody's.
    private static async Task<Uri> StartShiftedAsync(Fault fault, int number, TimeSpan shift)
    {
        var library = Directory.EnumerateDirectories("/usr/lib", "*-linux-gnu").Select(folder => Path.Combine(folder, "faketime/libfaketimeMT.so.1")).FirstOrDefault(File.Exists)
            ?? throw new InconclusiveException("libfaketime is not installed (Debian package libfaketime).");
        var api = fault.Stack.SpareApi(number);
        var start = new ProcessStartInfo(Environment.ProcessPath!, [Path.Combine(fault.Stack.Folder, "app/api/FlashSale.Api.dll")])
        {
            WorkingDirectory = Path.Combine(fault.Stack.Folder, "app/api"), UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.Environment.Clear();
        foreach (var pair in (await File.ReadAllTextAsync($"/proc/{fault.Stack.PidOf(Part.Api)}/environ")).Split('\0', StringSplitOptions.RemoveEmptyEntries))
            start.Environment[pair[..pair.IndexOf('=', StringComparison.Ordinal)]] = pair[(pair.IndexOf('=', StringComparison.Ordinal) + 1)..];
        start.Environment["Urls"] = api.ToString().TrimEnd('/');
        start.Environment["LD_PRELOAD"] = library;
        start.Environment["FAKETIME"] = $"{shift.TotalSeconds:+0;-0}s";
        start.Environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1";
        start.Environment["DONT_FAKE_MONOTONIC"] = "1";
        var process = Process.Start(start)!;
        var output = new StringBuilder();
        process.OutputDataReceived += (_, line) => output.AppendLine(line.Data);
        process.ErrorDataReceived += (_, line) => output.AppendLine(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        fault.AtEnd(async () =>
        {
            if (!process.HasExited) await Processes.KillAsync(process.Id);
            process.Dispose();
        });
        try
        {
            await FaultStack.ReadyAsync(new UriBuilder(api) { Port = api.Port + 1_000 }.Uri, TimeSpan.FromSeconds(30));
        }
        catch (TimeoutException e)
        {
            throw new InconclusiveException($"{e.Message}\n{output}");
        }
        return api;
    }
}
