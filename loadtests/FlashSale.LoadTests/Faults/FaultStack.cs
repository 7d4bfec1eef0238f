using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Net;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// The parts that a row can break: hosts, which their supervisors start again, and three servers, which the run starts
/// again.
/// </summary>
public enum Part
{
    Api,
    Admin,
    Worker,
    Redis,
    RabbitMq,
    Postgres,
}

/// <summary>
/// The stack of a fault run. It is the stack of scripts/up.sh with production's settings and two differences. Its hosts
/// reach each server through a <see cref="Proxy"/> (another proxy stands before the Api). They publish unsettled orders
/// again after 5 s instead of 60, so that the run can wait for the recovery of a lost queue.
/// </summary>
public sealed class FaultStack : IAsyncDisposable
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(3) };

    private readonly string _root;
    private readonly int _base;
    private readonly ImmutableDictionary<Part, Proxy> _proxies;

    /// <summary>Opens the proxies. <see cref="UpAsync"/> starts everything else.</summary>
    /// <param name="root">Root folder of the checkout.</param>
    /// <param name="folder">Folder of the stack. Its secrets are there already.</param>
    /// <param name="portBase">Value of up.sh's --port-base. The proxies listen on the ports from 110 above it.</param>
    public FaultStack(string root, string folder, int portBase)
    {
        _root = root;
        _base = portBase;
        Folder = folder;
        _proxies = new Dictionary<Part, Proxy>
        {
            [Part.Redis] = new(portBase + 110, new IPEndPoint(IPAddress.Loopback, portBase + 100)),
            [Part.Postgres] = new(portBase + 111, new IPEndPoint(IPAddress.Loopback, portBase + 101)),
            [Part.RabbitMq] = new(portBase + 112, new IPEndPoint(IPAddress.Loopback, portBase + 102)),
            [Part.Api] = new(portBase + 113, new IPEndPoint(IPAddress.Loopback, portBase)),
        }.ToImmutableDictionary();
    }

    /// <summary>Folder of the stack's data, logs and env file.</summary>
    public string Folder { get; }

    /// <summary>
    /// The env file that up.sh writes. It holds the servers' own addresses, not those of the proxies.
    /// </summary>
    public string EnvFile => Path.Combine(Folder, "env");

    /// <summary>Returns an address for one more Api.</summary>
    /// <param name="number">1 or 2.</param>
    public Uri SpareApi(int number) => new($"http://127.0.0.1:{_base + 4 + number}");

    /// <summary>Starts all parts of the stack that do not run yet.</summary>
    /// <exception cref="InvalidOperationException">up.sh failed. It has printed the reason.</exception>
    public Task UpAsync() => Processes.RunAsync(["bash", Path.Combine(_root, "scripts/up.sh"), "--infra", "native", "--port-base", $"{_base}", "--no-demo"], new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["Redis__Endpoint"] = $"127.0.0.1:{_proxies[Part.Redis].Port}",
        ["Postgres__Url"] = $"postgresql://flashsale:{Setting("FLASHSALE_POSTGRES_PASSWORD")}@127.0.0.1:{_proxies[Part.Postgres].Port}/flashsale",
        ["RabbitMq__Url"] = $"amqp://flashsale:{Setting("FLASHSALE_RABBITMQ_PASSWORD")}@127.0.0.1:{_proxies[Part.RabbitMq].Port}/",
        ["Relay__RepublishAfterSeconds"] = "5",
    }, isShown: true);

    /// <summary>Returns the proxy before a server, or before the Api.</summary>
    public Proxy ProxyOf(Part part) => _proxies[part];

    /// <summary>Address at which shoppers reach the Api through its proxy.</summary>
    public Uri ProxiedApi => new($"http://127.0.0.1:{_proxies[Part.Api].Port}");

    /// <summary>Returns the current process id of a part, or 0 while it has no process.</summary>
    public int PidOf(Part part) => int.TryParse(Env($"FLASHSALE_PID_{part.ToString().ToUpperInvariant()}"), out var pid) ? pid : 0;

    /// <summary>Returns a value of the env file, or empty text where the file has no such value.</summary>
    public string Env(string name) => Value(EnvFile, name);

    /// <summary>Starts a server on its data, unless it runs, and returns when it answers.</summary>
    public Task StartAsync(Part server) => InfraAsync("start", server);

    /// <summary>Stops a server gracefully.</summary>
    public Task StopAsync(Part server) => InfraAsync("stop", server);

    /// <summary>Returns the folder of a server's data.</summary>
    public string DataOf(Part server) => Path.Combine(Path.GetFullPath(RealPath(Path.Combine(Folder, "data"))), server.ToString().ToLowerInvariant());

    /// <summary>Returns the path of a part's log.</summary>
    public string LogOf(Part part) => Path.Combine(Folder, "log", $"{part.ToString().ToLowerInvariant()}.log");

    /// <summary>Returns the text that a log has gained since a position in bytes.</summary>
    public async Task<string> LogSinceAsync(Part part, long position)
    {
        await using var file = new FileStream(LogOf(part), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        file.Position = Math.Min(position, file.Length);
        using var reader = new StreamReader(file);
        return await reader.ReadToEndAsync();
    }

    /// <summary>Runs rabbitmqctl for the stack's node and returns its output.</summary>
    public Task<string> RabbitMqCtlAsync(params string[] arguments) => Processes.RunAsync([Path.Combine(Folder, "bin/rabbitmqctl"), .. arguments]);

    /// <summary>Waits until all hosts report that they are ready.</summary>
    /// <exception cref="TimeoutException">A host is not ready in time.</exception>
    public async Task ReadyAsync(TimeSpan deadline)
    {
        // These are the management ports of Api, Admin and Worker.
        foreach (var port in (int[])[_base + 1_000, _base + 1_001, _base + 1_002]) await ReadyAsync(new Uri($"http://127.0.0.1:{port}"), deadline);
    }

    /// <summary>Waits until one host reports that it is ready.</summary>
    /// <param name="management">Management address of the host.</param>
    /// <param name="deadline">Longest wait.</param>
    public static async Task ReadyAsync(Uri management, TimeSpan deadline)
    {
        var answer = "";
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < deadline; await Task.Delay(100))
        {
            try
            {
                using var response = await Http.GetAsync(new Uri(management, "/health/ready"));
                if (response.IsSuccessStatusCode) return;
                answer = await response.Content.ReadAsStringAsync();
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                answer = e.Message;
            }
        }
        throw new TimeoutException(string.Create(CultureInfo.InvariantCulture, $"The host at {management} is not ready after {deadline.TotalSeconds} s: {answer}"));
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        foreach (var proxy in _proxies.Values) await proxy.DisposeAsync();
    }

    private Task<string> InfraAsync(string what, Part server) => Processes.RunAsync(["bash", Path.Combine(_root, "scripts/infra.sh"), "--stack", Folder, what, server.ToString().ToLowerInvariant()]);

    private string Setting(string name) => Value(Path.Combine(Folder, "settings"), name);

    // Only the first = separates the name from the value. The value may contain more of them.
    private static string Value(string file, string name) =>
        File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..] ?? "";

    private static string RealPath(string path) => Directory.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
}
