using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;

namespace FlashSale.LoadTests.Faults;

/// <summary>Faults of hosts with wrong clocks, or with settings that change all the time.</summary>
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
                foreach (var (api, shift) in fault.Apis.Zip((TimeSpan[])[Shift, -Shift]))
                {
                    using var response = await http.GetAsync(new Uri(api, "/api/v1/sales"));
                    var off = response.Headers.Date - TimeProvider.System.GetUtcNow();
                    if (off is null || (off.Value - shift).Duration() > TimeSpan.FromSeconds(10)) throw new InconclusiveException($"the clock at {api} is {off} off, not {shift}.");
                    fault.TookHold($"{api} is {off.Value.TotalSeconds:+0;-0} s off");
                }
            },
            Lasts = TimeSpan.FromSeconds(6),
        },
        new("limits-reloaded", "an operator sets other rate limits every second for 8 s; every other document lets nobody see the list of sales")
        {
            Inject = async fault =>
            {
                using var admin = Admin(fault);
                using var shop = new HttpClient { BaseAddress = fault.Apis[0] };
                // The next rows must find the limits as they were before.
                var before = await admin.GetStringAsync("/api/v1/ops/limits");
                fault.AtEnd(() => SetAsync(fault, before));
                var (changes, followed) = (0, 0);
                for (var clock = Stopwatch.StartNew(); clock.Elapsed < Lasting; await Task.Delay(TimeSpan.FromSeconds(1)))
                {
                    var isTight = changes % 2 == 0;
                    using var body = new StringContent(Limits(1_000 + changes, isTight), Encoding.UTF8, "application/json");
                    using var response = await admin.PutAsync("/api/v1/ops/limits", body);
                    if (response.StatusCode != HttpStatusCode.OK) continue;
                    changes++;
                    if (await IsAnsweredAsync(shop, isTight ? HttpStatusCode.TooManyRequests : HttpStatusCode.OK)) followed++;
                }
                if (changes >= 5 && followed == changes) fault.TookHold($"{changes} changes were taken, and seen at the Api within a second");
                else fault.WhyNot = $"{changes} changes were taken, {followed} of them seen at the Api within a second";
            },
        },
    ];

    private static string Limits(int capacity, bool isTight) => JsonSerializer.Serialize(new
    {
        rules = new object[]
        {
            new { name = "shopper", match = new { method = "POST", path = "/api/v1/sales/{saleId}/orders" }, partition = "user", scope = "node", capacity, refillPerSecond = 100.0 },
            new { name = "list", match = new { method = "GET", path = "/api/v1/sales" }, partition = "global", scope = "node", capacity = isTight ? 1 : capacity, refillPerSecond = isTight ? 0.01 : 1_000 },
            new { name = "everybody", match = new { path = "/api/**" }, partition = "global", scope = "cluster", capacity = capacity * 100, refillPerSecond = 100_000.0, onStoreFailure = "local" },
        },
        allow = new { cidrs = Array.Empty<string>(), users = Array.Empty<string>(), clients = Array.Empty<string>() },
    });

    private static async Task<bool> IsAnsweredAsync(HttpClient shop, HttpStatusCode expected)
    {
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < TimeSpan.FromSeconds(1); await Task.Delay(20))
        {
            using var response = await shop.GetAsync("/api/v1/sales");
            if (response.StatusCode == expected) return true;
        }
        return false;
    }

    private static async Task SetAsync(Fault fault, string document)
    {
        using var admin = Admin(fault);
        using var body = new StringContent(document, Encoding.UTF8, "application/json");
        using var response = await admin.PutAsync("/api/v1/ops/limits", body);
        response.EnsureSuccessStatusCode();
    }

    private static HttpClient Admin(Fault fault) => new()
    {
        BaseAddress = fault.Target.Admin,
        DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", fault.Target.AdminToken) },
    };

    // Starts an Api with the settings of the running one, on another port and under another wall clock. Timers go by
    // the monotonic clock, which stays true. Broken time servers make wrong wall clocks, but nothing makes a wrong
    // monotonic clock.
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
