using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Looks at each new session before anything uses it. A pooler between host and server may drop the startup options,
/// and with them every time limit; in transaction mode it lends one session to several clients, whose prepared
/// statements then answer each other's questions and whose locks exclude nobody. Both look like health from above, so
/// the host ends with them.
/// </summary>
internal sealed partial class PostgresSessions(
    string setting, PostgresOptions options, NpgsqlConnectionStringBuilder connectionString, ILogger logger)
{
    private const int Rounds = 3;

    // A pooler may be set up anew while the host runs; its clients are then cut off and come again.
    private const long TrustedMilliseconds = 60_000;

    private readonly (string Name, string Value)[] _settings =
    [
        ("statement_timeout", $"{options.StatementTimeoutMilliseconds}"),
        ("lock_timeout", $"{options.LockTimeoutMilliseconds}"),
        ("idle_in_transaction_session_timeout", "60000"),
        // Prepared once, planned each time: a plan made while a table was small must not scan it when it is large.
        // Functions that can do with one plan say so.
        ("plan_cache_mode", "force_custom_plan"),
    ];

    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly Seldom _tell = new(TimeSpan.FromSeconds(10));
    private bool _hasPassed;
    private long _trustedUntil = long.MinValue;

    /// <summary>What a session must have, as startup parameter <c>options</c>.</summary>
    public string StartupOptions => string.Join(' ', _settings.Select(s => $"-c {s.Name}={s.Value}"));

    /// <summary>Checks a session that was just opened.</summary>
    /// <exception cref="InvalidSettingException">It is not what the host needs, and will not become so; the host ends.</exception>
    public async Task CheckAsync(NpgsqlConnection connection)
    {
        try
        {
            var (process, settings) = await LookAsync(connection);
            if (process != connection.ProcessID) await CheckPoolerAsync(connection);
            CheckSettings(settings);
        }
        catch (InvalidSettingException e)
        {
            HostRunner.End(e);
            throw;
        }
        catch (NpgsqlException e) when (e.InnerException is TimeoutException)
        {
            TellOnceInAWhile();
            throw;
        }
    }

    private async Task<(int Process, string[] Settings)> LookAsync(NpgsqlConnection connection)
    {
        await using var command = Command("""
            select pg_backend_pid(), array(
                select s.setting from unnest($1::text[]) with ordinality n (name, place)
                join pg_settings s using (name) order by n.place)
            """, connection);
        command.Parameters.Add(new NpgsqlParameter<string[]> { TypedValue = Array.ConvertAll(_settings, s => s.Name) });
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt32(0), reader.GetFieldValue<string[]>(1));
    }

    private void CheckSettings(string[] found)
    {
        var missing = Enumerable.Range(0, _settings.Length).Where(i => found[i] != _settings[i].Value).ToList();
        if (missing.Count == 0) return;
        var where = $"alter role \"{connectionString.Username}\" in database \"{connectionString.Database}\"";
        var remedy = missing.Select(i => $"{where} set {_settings[i].Name} = '{_settings[i].Value}';");
        var (name, value) = _settings[missing[0]];
        throw new InvalidSettingException(
            $"{setting} = (hidden): its sessions lack settings of this host, such as {name}, "
            + $"which is {found[missing[0]]} and not {value}. A pooler drops the startup parameter 'options'. "
            + $"Let the server set them: {string.Join(' ', remedy)} Then let the pooler connect anew.");
    }

    private async Task CheckPoolerAsync(NpgsqlConnection connection)
    {
        await _one.WaitAsync();
        try
        {
            if (Environment.TickCount64 < _trustedUntil) return;
            if (await SharesSessionsAsync(connection))
                throw new InvalidSettingException(
                    $"{setting} = (hidden): it leads through a pooler in transaction or statement mode, where clients "
                    + "share sessions: statements of one would be answered for another, and locks exclude nobody. "
                    + "Set pool_mode = session, with a pool_size for all connections of all hosts, "
                    + "or connect to the server itself.");
            _hasPassed = true;
        }
        catch (NpgsqlException e) when (_hasPassed && e.InnerException is TimeoutException)
        {
            // The pooler has no session left to look with. Work goes on with those that are there.
            TellOnceInAWhile();
        }
        finally
        {
            if (_hasPassed) _trustedUntil = Environment.TickCount64 + TrustedMilliseconds;
            _one.Release();
        }
    }

    // Two clients mark their sessions. Where each has one of its own, each finds its own mark, however often and in
    // whatever order they look.
    private async Task<bool> SharesSessionsAsync(NpgsqlConnection one)
    {
        var alone = new NpgsqlConnectionStringBuilder(connectionString.ConnectionString) { Pooling = false, KeepAlive = 0 };
        await using var other = new NpgsqlConnection(alone.ConnectionString);
        await other.OpenAsync();
        await MarkAsync(one, nameof(one));
        await MarkAsync(other, nameof(other));
        for (var round = 0; round < Rounds; round++)
        {
            // The other twice in a row, so that a pooler that deals its sessions out in turn does not give each client
            // the same one each time.
            if (await MarkOfAsync(one) != nameof(one)) return true;
            if (await MarkOfAsync(other) != nameof(other) || await MarkOfAsync(other) != nameof(other)) return true;
        }
        return false;
    }

    private async Task MarkAsync(NpgsqlConnection connection, string mark)
    {
        await using var command = Command($"set flashsale.session = '{mark}'", connection);
        await command.ExecuteNonQueryAsync();
    }

    private async Task<string?> MarkOfAsync(NpgsqlConnection connection)
    {
        await using var command = Command("select current_setting('flashsale.session', true)", connection);
        return await command.ExecuteScalarAsync() as string;
    }

    // A pooler greets before it has a session to give, and then lets its client wait for minutes.
    private NpgsqlCommand Command(string sql, NpgsqlConnection connection) =>
        new(sql, connection) { CommandTimeout = connectionString.Timeout };

    private void TellOnceInAWhile()
    {
        if (_tell.IsDue()) LogNoSession(setting, connectionString.Timeout);
    }

    [LoggerMessage(1, LogLevel.Warning, "{Setting} took a connection and gave it no session within {Seconds} s: "
        + "a pooler there has fewer sessions than its clients need (pool_size), or the server is stuck")]
    private partial void LogNoSession(string setting, int seconds);
}
