using Dapper;
using FlashSale.LoadTests.Faults;
using Npgsql;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A Postgres server for tests that take it down.</summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private const string User = "postgres";

    private DirectoryInfo _folder = Directory.CreateTempSubdirectory("flashsale-postgres-");
    private readonly int _port = Ports.Take();
    private ChildProcess? _process;
    private int[] _frozen = [];

    private static string Binaries => Directory.GetDirectories("/usr/lib/postgresql").Order(StringComparer.Ordinal).Last() + "/bin";

    private string Data => Path.Combine(_folder.FullName, "data");

    /// <summary>The libpq URI of the maintenance database.</summary>
    public string Url => $"postgresql://{User}@127.0.0.1:{_port}/postgres";

    public static async Task<PostgresServer> StartNewAsync()
    {
        var server = await NewAsync();
        await ChildProcess.RunAsync("initdb",
            [$"{Binaries}/initdb", "--pgdata", server.Data, "--username", User, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"], user: User);
        await server.StartAsync();
        return server;
    }

    /// <summary>Starts an asynchronous standby, which streams from this server.</summary>
    public async Task<PostgresServer> StartStandbyAsync()
    {
        var standby = await NewAsync();
        await ChildProcess.RunAsync("pg_basebackup",
            [$"{Binaries}/pg_basebackup", "-h", "127.0.0.1", "-p", $"{_port}", "-U", User, "-D", standby.Data, "--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"], user: User);
        await standby.StartAsync();
        return standby;
    }

    /// <summary>Waits until a standby has replayed all commits that this server has made until now.</summary>
    public async Task CaughtUpAsync(PostgresServer standby)
    {
        var position = await ScalarAsync<string>("select pg_current_wal_flush_lsn()::text");
        await Eventually.TrueAsync("the standby has caught up", TimeSpan.FromSeconds(30), async () =>
            await standby.ScalarAsync<bool>($"select coalesce(pg_last_wal_replay_lsn() >= '{position}', false)"));
    }

    /// <summary>
    /// Kills this server with SIGKILL. The standby, running or not, is promoted and takes its place and address.
    /// Commits that it has not received are lost.
    /// </summary>
    public async Task FailOverAsync(PostgresServer standby)
    {
        await KillAsync();
        if (!standby._process!.HasExited) await standby.StopAsync();
        (_folder, standby._folder) = (standby._folder, _folder);
        await StartAsync();
        await ScalarAsync<bool>("select pg_promote()");
    }

    /// <summary>Sets a parameter of the server for all sessions. A null value resets it.</summary>
    public async Task SetAsync(string parameter, string? value)
    {
        await ScalarAsync<object>(value is null ? $"alter system reset {parameter}" : $"alter system set {parameter} = '{value}'");
        await ScalarAsync<bool>("select pg_reload_conf()");
    }

    public async Task StartAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        _process = await ChildProcess.StartAsync("postgres",
            [$"{Binaries}/postgres", "-D", Data, "-p", $"{_port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_preload_libraries=pg_stat_statements"],
            user: User);
        await Eventually.TrueAsync("Postgres answers", TimeSpan.FromSeconds(30), AnswersAsync);
    }

    /// <summary>Offers TLS to new connections, with a self-signed certificate, or stops offering it.</summary>
    /// <returns>The file of the certificate that clients must trust.</returns>
    public async Task<string> OfferTlsAsync(bool offer = true)
    {
        var files = await SelfSigned.CreateAsync(_folder.FullName, "postgres", User);
        await ExecuteAsync($"alter system set ssl_cert_file = '{files.Certificate}'", $"alter system set ssl_key_file = '{files.Key}'", $"alter system set ssl = {(offer ? "on" : "off")}", "select pg_reload_conf()");
        return files.Certificate;
    }

    /// <summary>Runs each statement alone in the maintenance database.</summary>
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

    /// <summary>Sends SIGINT. Postgres ends all sessions and stops in order.</summary>
    public Task StopAsync() => _process!.StopAsync(signal: 2);

    /// <summary>Sends SIGSTOP to all its processes.</summary>
    public void Freeze() => _frozen = Processes.Freeze(_process!.Id);

    /// <summary>Sends SIGCONT to those that were frozen.</summary>
    public void Thaw() => Processes.Thaw(_frozen);

    /// <summary>Makes a standby a primary, at its own address. The old primary goes on.</summary>
    public async Task PromoteAsync() => await ScalarAsync<bool>("select pg_promote()");

    /// <summary>Sends SIGKILL. Postgres recovers from its log at the next start.</summary>
    public async Task KillAsync()
    {
        await _process!.KillAsync();
        // The child processes notice within moments. Postgres refuses a start before they are gone.
        await Eventually.TrueAsync("the killed Postgres is gone", TimeSpan.FromSeconds(20), async () => !await AnswersAsync());
    }

    /// <summary>Copies the files of a stopped Postgres as a backup.</summary>
    public Task BackUpAsync() => ChildProcess.RunAsync("cp", ["cp", "-a", Data, Data + ".backup"]);

    /// <summary>Replaces the files of a stopped Postgres with the backup.</summary>
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

    private static async Task<PostgresServer> NewAsync()
    {
        var server = new PostgresServer();
        // Postgres refuses to run as root. initdb makes its data folder below this one, as its own user.
        if (Environment.UserName == "root") await ChildProcess.RunAsync("chown", ["chown", User, server._folder.FullName]);
        return server;
    }

    private async Task<T> ScalarAsync<T>(string sql)
    {
        await using var connection = new NpgsqlConnection(Database.ConnectionString(Url, pooling: false));
        await connection.OpenAsync();
        return (await connection.ExecuteScalarAsync<T>(sql))!;
    }

    private async Task<bool> AnswersAsync()
    {
        try
        {
            await ScalarAsync<int>("select 1");
            return true;
        }
        catch (NpgsqlException)
        {
            return false;
        }
    }
}
