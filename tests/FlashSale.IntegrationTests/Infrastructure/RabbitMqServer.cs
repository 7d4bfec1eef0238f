using System.Net.Sockets;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A RabbitMQ node with its own port mapper, for tests that take the broker down.</summary>
public sealed class RabbitMqServer : IAsyncDisposable
{
    private const string User = "rabbitmq";
    private const string Binaries = "/usr/lib/rabbitmq/bin";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("flashsale-rabbitmq-");
    private readonly int _port = Ports.Take();
    private readonly int _tlsPort = Ports.Take();
    private readonly int _distribution = Ports.Take();
    private readonly int _mapper = Ports.Take();
    private readonly string _password = Guid.NewGuid().ToString("N");
    private ChildProcess? _epmd;
    private ChildProcess? _node;

    /// <summary>The amqp URI of an administrator on the default virtual host.</summary>
    public Uri Url => new($"amqp://flashsale:{_password}@127.0.0.1:{_port}/");

    /// <summary>The amqps URI. Only <see cref="Authority"/> vouches for the certificate of the node.</summary>
    public Uri TlsUrl => new($"amqps://flashsale:{_password}@127.0.0.1:{_tlsPort}/");

    /// <summary>The file of the certificate that clients must trust.</summary>
    public string Authority { get; private set; } = "";

    public static async Task<RabbitMqServer> StartNewAsync()
    {
        var server = new RabbitMqServer();
        await server.WriteFilesAsync();
        // Without this the node would start a port mapper of its own that outlives it.
        server._epmd = await ChildProcess.StartAsync("epmd", ["epmd", "-address", "127.0.0.1", "-port", $"{server._mapper}"], server.Environment(), User);
        await server.StartAsync();
        return server;
    }

    public async Task StartAsync()
    {
        if (_node is not null) await _node.DisposeAsync();
        var environment = Environment();
        // As under systemd, the start script becomes the node itself, so that its pid is the known one.
        environment["RUNNING_UNDER_SYSTEMD"] = "true";
        environment["RABBITMQ_SCHEDULER_BIND_TYPE"] = "u";
        environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";
        _node = await ChildProcess.StartAsync("rabbitmq", [$"{Binaries}/rabbitmq-server"], environment, User);
        await Eventually.TrueAsync("RabbitMQ answers", TimeSpan.FromSeconds(90), AnswersAsync);
    }

    /// <summary>Sends SIGKILL.</summary>
    public Task KillAsync() => _node!.KillAsync();

    public Task<string> CtlAsync(string[] arguments) => ChildProcess.RunAsync("rabbitmqctl", [$"{Binaries}/rabbitmqctl", .. arguments], Environment(), User);

    public async ValueTask DisposeAsync()
    {
        if (_node is not null) await _node.DisposeAsync();
        if (_epmd is not null) await _epmd.DisposeAsync();
        await Eventually.TrueAsync("the files of RabbitMQ can be removed", TimeSpan.FromSeconds(20), () => Folders.TryDelete(_folder));
    }

    private Dictionary<string, string> Environment() => new(StringComparer.Ordinal)
    {
        ["HOME"] = _folder.FullName,
        ["RABBITMQ_CONF_ENV_FILE"] = "/dev/null",
        ["RABBITMQ_NODENAME"] = "flashsale@localhost",
        ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
        ["RABBITMQ_NODE_PORT"] = $"{_port}",
        ["RABBITMQ_DIST_PORT"] = $"{_distribution}",
        ["RABBITMQ_CONFIG_FILE"] = Path.Combine(_folder.FullName, "rabbitmq.conf"),
        ["RABBITMQ_ADVANCED_CONFIG_FILE"] = Path.Combine(_folder.FullName, "advanced.config"),
        ["RABBITMQ_MNESIA_BASE"] = Path.Combine(_folder.FullName, "node"),
        ["RABBITMQ_LOG_BASE"] = Path.Combine(_folder.FullName, "log"),
        ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(_folder.FullName, "enabled_plugins"),
        ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
        ["ERL_EPMD_PORT"] = $"{_mapper}",
    };

    private async Task WriteFilesAsync()
    {
        var files = await SelfSigned.CreateAsync(_folder.FullName, "rabbitmq");
        Authority = files.Certificate;
        await File.WriteAllTextAsync(Path.Combine(_folder.FullName, "rabbitmq.conf"), $"""
            listeners.tcp.1 = 127.0.0.1:{_port}
            listeners.ssl.1 = 127.0.0.1:{_tlsPort}
            ssl_options.certfile = {files.Certificate}
            ssl_options.keyfile = {files.Key}
            default_user = flashsale
            default_pass = {_password}
            default_user_tags.administrator = true
            log.console = true
            log.file = false

            """);
        await File.WriteAllTextAsync(Path.Combine(_folder.FullName, "enabled_plugins"), "[].\n");
        var cookie = Path.Combine(_folder.FullName, ".erlang.cookie");
        await File.WriteAllTextAsync(cookie, Guid.NewGuid().ToString("N"));
        await ChildProcess.RunAsync("chmod", ["chmod", "400", cookie]);
        if (System.Environment.UserName == "root") await ChildProcess.RunAsync("chown", ["chown", "-R", User, _folder.FullName]);
    }

    private async Task<bool> AnswersAsync()
    {
        if (_node!.HasExited) throw new InvalidOperationException($"RabbitMQ ended with {_node.ExitCode}:\n{_node.OutputSince(0)}");
        try
        {
            using var connection = new TcpClient();
            await connection.ConnectAsync("127.0.0.1", _port);
            var stream = connection.GetStream();
            // The listener opens when the node has booted. The node answers the greeting of the protocol with a method
            // frame.
            await stream.WriteAsync("AMQP\0\0\u0009\u0001"u8.ToArray());
            var first = new byte[1];
            return await stream.ReadAsync(first) == 1 && first[0] == 1;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return false;
        }
    }
}
