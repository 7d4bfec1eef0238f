using System.Net.Sockets;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A PgBouncer between a host and a Postgres that only one test uses.</summary>
public sealed class PgBouncer : IAsyncDisposable
{
    private const string User = "postgres";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("flashsale-pgbouncer-");
    private readonly int _port = Ports.Take();
    private ChildProcess? _process;

    /// <param name="database">The libpq URI of the database behind it.</param>
    /// <param name="settings">Lines of its section <c>pgbouncer</c>.</param>
    public static async Task<PgBouncer> StartNewAsync(string database, params string[] settings)
    {
        var bouncer = new PgBouncer();
        var file = Path.Combine(bouncer._folder.FullName, "pgbouncer.ini");
        await File.WriteAllTextAsync(file, $"""
            [databases]
            * = host=127.0.0.1 port={new Uri(database).Port} user={User}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {bouncer._port}
            unix_socket_dir =
            auth_type = any
            {string.Join('\n', settings)}

            """);
        if (Environment.UserName == "root") await ChildProcess.RunAsync("chown", ["chown", "-R", User, bouncer._folder.FullName]);
        bouncer._process = await ChildProcess.StartAsync("pgbouncer", ["/usr/sbin/pgbouncer", file], user: User);
        await Eventually.TrueAsync("PgBouncer listens", TimeSpan.FromSeconds(30), bouncer.ListensAsync);
        return bouncer;
    }

    /// <summary>The URI of the database by way of this PgBouncer.</summary>
    public string By(string database) => new UriBuilder(database) { Port = _port }.Uri.AbsoluteUri;

    public async ValueTask DisposeAsync()
    {
        if (_process is not null) await _process.DisposeAsync();
        await Eventually.TrueAsync("the files of PgBouncer can be removed", TimeSpan.FromSeconds(20), () => Folders.TryDelete(_folder));
    }

    private async Task<bool> ListensAsync()
    {
        if (_process!.HasExited) throw new InvalidOperationException($"PgBouncer ended with {_process.ExitCode}:\n{_process.OutputSince(0)}");
        try
        {
            using var connection = new TcpClient();
            await connection.ConnectAsync("127.0.0.1", _port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
