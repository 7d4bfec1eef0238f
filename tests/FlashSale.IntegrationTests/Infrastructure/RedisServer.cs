namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// A redis-server set up as in production. A test may kill, freeze, empty and cut it without harm to others.
/// </summary>
public sealed class RedisServer : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("flashsale-redis-");
    private ChildProcess? _process;

    private RedisServer() => Client = new RedisClient(Endpoint);

    public int Port { get; } = Ports.Take();

    public string Endpoint => $"127.0.0.1:{Port}";

    public RedisClient Client { get; private set; }

    public static async Task<RedisServer> StartNewAsync()
    {
        var server = new RedisServer();
        await server.StartAsync();
        return server;
    }

    /// <summary>Starts Redis on its present files.</summary>
    public async Task StartAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _process = await ChildProcess.StartAsync("redis-server",
        [
            "redis-server", "--bind", "127.0.0.1", "--port", $"{Port}", "--dir", _folder.FullName, "--daemonize", "no",
            "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--save", "",
            "--maxmemory", "2gb", "--maxmemory-policy", "noeviction",
        ]);
        await Eventually.TrueAsync("Redis has loaded its files", TimeSpan.FromSeconds(20), AnswersAsync);
    }

    /// <summary>Makes this server a replica of another one, and waits until it holds all data of the primary.</summary>
    public async Task FollowAsync(RedisServer primary)
    {
        await Client.CallAsync("REPLICAOF", "127.0.0.1", primary.Port);
        await Eventually.TrueAsync("the replica has caught up", TimeSpan.FromSeconds(30), async () =>
            await ReplicationAsync("master_link_status") == "up" && await ReplicationAsync("slave_repl_offset") == await primary.ReplicationAsync("master_repl_offset"));
    }

    /// <summary>Makes a replica a primary.</summary>
    public Task PromoteAsync() => Client.CallAsync("REPLICAOF", "NO", "ONE");

    /// <summary>Sends SIGKILL.</summary>
    public Task KillAsync() => _process!.KillAsync();

    /// <summary>Sends SIGKILL and starts Redis again on the same append-only file.</summary>
    public async Task RestartAsync()
    {
        await KillAsync();
        await StartAsync();
    }

    /// <summary>Sends SIGSTOP. The connections stay, and nothing is answered.</summary>
    public void Freeze() => _process!.Freeze();

    /// <summary>Sends SIGCONT.</summary>
    public void Thaw() => _process!.Thaw();

    /// <summary>Removes all files of a stopped Redis.</summary>
    public void WipeFiles()
    {
        foreach (var folder in _folder.EnumerateDirectories()) folder.Delete(recursive: true);
        foreach (var file in _folder.EnumerateFiles()) file.Delete();
    }

    /// <summary>The length of the append-only file, at which a test can cut it later.</summary>
    public long FileLength() => AppendOnlyFile().Length;

    /// <summary>Cuts the append-only file of a stopped Redis, as the loss of a disk cache would.</summary>
    public void CutFile(long length)
    {
        using var file = AppendOnlyFile().Open(FileMode.Open, FileAccess.Write);
        file.SetLength(length);
    }

    /// <summary>
    /// Every key with the prefix and a digest of its value. Equal digests before and after mean that nothing was
    /// written. A relay's lease comes and goes by itself, so it is left out.
    /// </summary>
    public async Task<SortedDictionary<string, string>> DigestAsync(string prefix)
    {
        var digest = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var key in await Client.ListAsync("KEYS", prefix.Replace("{", "[{]", StringComparison.Ordinal) + "*"))
        {
            var name = System.Text.Encoding.UTF8.GetString((byte[])key!);
            if (!name.EndsWith(":relay", StringComparison.Ordinal) && await Client.CallAsync("DUMP", key!) is byte[] value)
                digest[name] = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(value));
        }
        return digest;
    }

    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        if (_process is not null) await _process.DisposeAsync();
        _folder.Delete(recursive: true);
    }

    private FileInfo AppendOnlyFile() =>
        new DirectoryInfo(Path.Combine(_folder.FullName, "appendonlydir")).EnumerateFiles("*.incr.aof").MaxBy(file => file.Name, StringComparer.Ordinal)
        ?? throw new InvalidOperationException($"There is no append-only file in {_folder.FullName}.");

    private async Task<string?> ReplicationAsync(string figure) => (await Client.TextAsync("INFO", "replication"))!
        .Split("\r\n").FirstOrDefault(line => line.StartsWith(figure + ":", StringComparison.Ordinal))?[(figure.Length + 1)..];

    private async Task<bool> AnswersAsync()
    {
        if (_process!.HasExited) throw new InvalidOperationException($"redis-server ended with {_process.ExitCode}:\n{_process.OutputSince(0)}");
        try
        {
            return await Client.TextAsync("PING") == "PONG";
        }
        catch (Exception e) when (e is IOException or RedisErrorException)
        {
            return false;
        }
    }
}
