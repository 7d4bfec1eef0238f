using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A Postgres of its own, for tests that take it down.</summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private const string User = "postgres";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("flashsale-postgres-");
    private readonly int _port = Ports.Take();
    private ChildProcess? _process;

    private static string Binaries => Directory.GetDirectories("/usr/lib/postgresql").Order(StringComparer.Ordinal).Last() + "/bin";

    private string Data => Path.Combine(_folder.FullName, "data");

    /// <summary>libpq URI of its maintenance database.</summary>
    public string Url => $"postgresql://{User}@127.0.0.1:{_port}/postgres";

    public static async Task<PostgresServer> StartNewAsync()
    {
        var server = new PostgresServer();
        // Postgres refuses to run as root; initdb makes the folder of its own user below this one.
        if (Environment.UserName == "root") await ChildProcess.RunAsync("chown", ["chown", User, server._folder.FullName]);
        await ChildProcess.RunAsync("initdb",
            [$"{Binaries}/initdb", "--pgdata", server.Data, "--username", User, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"], user: User);
        await server.StartAsync();
        return server;
    }

    public async Task StartAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _process = await ChildProcess.StartAsync("postgres",
            [$"{Binaries}/postgres", "-D", Data, "-p", $"{_port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_preload_libraries=pg_stat_statements"],
            user: User);
        await Eventually.TrueAsync("Postgres answers", TimeSpan.FromSeconds(30), AnswersAsync);
    }

    /// <summary>Lets it offer TLS to new connections, with a certificate of its own, or to none.</summary>
    /// <returns>The certificate that clients are told to trust.</returns>
    public async Task<string> OfferTlsAsync(bool offer = true)
    {
        var files = await SelfSigned.CreateAsync(_folder.FullName, "postgres", User);
        await ExecuteAsync($"alter system set ssl_cert_file = '{files.Certificate}'", $"alter system set ssl_key_file = '{files.Key}'", $"alter system set ssl = {(offer ? "on" : "off")}", "select pg_reload_conf()");
        return files.Certificate;
    }

    /// <summary>Runs statements in its maintenance database, each alone.</summary>
    public async Task ExecuteAsync(params string[] statements)
    {
        await using var connection = new NpgsqlConnection(Database.ConnectionString(Url, pooling: false));
        await connection.OpenAsync();
        foreach (var statement in statements)
        {
            await using var command = new NpgsqlCommand(statement, connection);
            await command.ExecuteNonQueryAsync();
        }
    }

    /// <summary>SIGINT: ends all sessions and leaves in order.</summary>
    public Task StopAsync() => _process!.StopAsync(signal: 2);

    /// <summary>kill -9; it recovers from its log at the next start.</summary>
    public async Task KillAsync()
    {
        await _process!.KillAsync();
        // Its children notice within moments; a start before they are gone is refused.
        await Eventually.TrueAsync("the killed Postgres is gone", TimeSpan.FromSeconds(20), async () => !await AnswersAsync());
    }

    /// <summary>Copies the files of a Postgres that does not run: a backup to come back to.</summary>
    public Task BackUpAsync() => ChildProcess.RunAsync("cp", ["cp", "-a", Data, Data + ".backup"]);

    /// <summary>Puts the backup in the place of the files of a Postgres that does not run.</summary>
    public async Task RestoreAsync()
    {
        await ChildProcess.RunAsync("rm", ["rm", "-rf", Data]);
        await ChildProcess.RunAsync("mv", ["mv", Data + ".backup", Data]);
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is { HasExited: false }) await _process.StopAsync(signal: 3);
        if (_process is not null) await _process.DisposeAsync();
        await Eventually.TrueAsync("the files of Postgres can be removed", TimeSpan.FromSeconds(20), () => Folders.TryDelete(_folder));
    }

    private async Task<bool> AnswersAsync()
    {
        try
        {
            await using var connection = new NpgsqlConnection(Database.ConnectionString(Url, pooling: false));
            await connection.OpenAsync();
            return true;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }
}
