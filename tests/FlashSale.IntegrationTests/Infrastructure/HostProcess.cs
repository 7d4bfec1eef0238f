using System.Globalization;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// One of the product's hosts in a process of its own. Its environment configures it, as an operator would.
/// </summary>
/// <param name="host">Api, Admin, Worker or PaymentSandbox.</param>
/// <param name="settings">Environment variables.</param>
/// <param name="log">The file for the host's log, or null to keep the log in <see cref="Output"/>.</param>
public sealed class HostProcess(string host, IReadOnlyDictionary<string, string> settings, string? log = null) : IAsyncDisposable
{
    private static readonly HttpClient Probe = new() { Timeout = TimeSpan.FromSeconds(3) };

    private ChildProcess? _process;
    private long _marked;

    public string Host => host;

    public int Port { get; } = Ports.Take();

    public Uri Url => new($"http://127.0.0.1:{Port}");

    public Uri ManagementUrl => new($"http://127.0.0.1:{Port + 1_000}");

    public bool IsRunning => _process is { HasExited: false };

    public int ProcessId => _process!.Id;

    /// <summary>The most memory that the process has held since its start, in bytes.</summary>
    public long PeakMemory
    {
        get
        {
            var line = File.ReadLines($"/proc/{ProcessId}/status").Single(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
            return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
        }
    }

    /// <summary>Starts the host and waits until it is ready.</summary>
    public async Task StartAsync()
    {
        await LaunchAsync();
        await ReadyAsync(TimeSpan.FromSeconds(120));
    }

    /// <summary>Starts the host without waiting.</summary>
    public async Task LaunchAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _marked = 0;
        // The runtime maps code twice by default, once writable and once executable. That costs a tenth of each of the
        // hundreds of starts.
        var environment = new Dictionary<string, string>(settings, StringComparer.Ordinal) { ["DOTNET_gcServer"] = "0", ["DOTNET_EnableWriteXorExecute"] = "0" };
        environment.TryAdd("Urls", Url.ToString().TrimEnd('/'));
        string[] command = ["dotnet", TestEnvironment.HostAssembly(host)];
        if (log is not null) command = ["sh", "-c", "exec \"$@\" >\"$0\"", log, .. command];
        _process = await ChildProcess.StartAsync($"FlashSale.{host}", command, environment);
    }

    /// <summary>Waits until the host says that it is ready.</summary>
    public async Task ReadyAsync(TimeSpan deadline)
    {
        var answer = "none";
        try
        {
            await Eventually.TrueAsync($"FlashSale.{host} is ready", deadline, async () =>
            {
                if (_process!.HasExited) throw new InvalidOperationException($"FlashSale.{host} ended with {_process.ExitCode}:\n{_process.OutputSince(0)}");
                try
                {
                    using var response = await Probe.GetAsync(new Uri(ManagementUrl, "/health/ready"));
                    answer = $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
                    return response.IsSuccessStatusCode;
                }
                catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
                {
                    answer = e.Message;
                    return false;
                }
            });
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message} /health/ready: {answer}\n{_process!.OutputSince(0)}", e);
        }
    }

    /// <summary>Sends SIGKILL.</summary>
    public Task KillAsync() => _process!.KillAsync();

    /// <summary>Sends SIGTERM and waits for the end.</summary>
    /// <returns>The exit code.</returns>
    public Task<int> StopAsync() => _process!.StopAsync();

    /// <summary>Sends SIGKILL and starts the host again.</summary>
    public async Task RestartAsync()
    {
        await KillAsync();
        await StartAsync();
    }

    /// <summary>Waits for the end of the process and returns its exit code.</summary>
    public Task<int> ExitAsync(TimeSpan deadline) => _process!.ExitAsync(deadline);

    /// <summary>Sends SIGSTOP.</summary>
    public void Freeze() => _process!.Freeze();

    /// <summary>Sends SIGCONT.</summary>
    public void Thaw() => _process!.Thaw();

    /// <summary>The output since the last start.</summary>
    public string Output => _process?.OutputSince(0) ?? "";

    /// <summary>Sets the point from which <see cref="OutputSinceMark"/> shows output.</summary>
    public void Mark() => _marked = _process?.Position ?? 0;

    /// <summary>The output since the last mark.</summary>
    public string OutputSinceMark => _process?.OutputSince(_marked) ?? "";

    public async ValueTask DisposeAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
    }
}
