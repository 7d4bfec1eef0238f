using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Checks each new session before anything uses it. A pooler between host and server may drop the startup options, and
/// with them every time limit. In transaction mode a pooler lends one session to several clients. Their prepared
/// statements then answer each other's questions, and their locks exclude nobody. In both cases the host would look
/// healthy, so the check ends it.
/// </summary>
internal sealed partial class PostgresSessions(
    string setting, PostgresOptions options, NpgsqlConnectionStringBuilder connectionString, ILogger logger)
{
    private const int Rounds = 3;

    // An operator may set up a pooler anew while the host runs. The pooler then cuts its clients off and they connect
    // again, so the check is repeated after this time.
    private const long TrustedMilliseconds = 60_000;

    private readonly (string Name, string Value)[] _settings =
    [
        ("statement_timeout", $"{options.StatementTimeoutMilliseconds}"),
        ("lock_timeout", $"{options.LockTimeoutMilliseconds}"),
        ("idle_in_transaction_session_timeout", "60000"),
        // Statements are prepared once and planned each time. A plan from the time when a table was small must not scan
        // it when it is large. SQL functions that can do with one plan say so.
        ("plan_cache_mode", "force_custom_plan"),
    ];

    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly Seldom _tell = new(TimeSpan.FromSeconds(10));
    private bool _hasPassed;
    private long _trustedUntil = long.MinValue;

    /// <summary>The settings that a session must have, in the form of the startup parameter <c>options</c>.</summary>
    public string StartupOptions => string.Join(' ', _settings.Select(s => $"-c {s.Name}={s.Value}"));

    /// <summary>Checks a session that was just opened.</summary>
    /// <exception cref="InvalidSettingException">The session is not fit for the host and never will be. The host
    /// ends.</exception>
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
            // The pooler has no session left for the check. Work goes on with the sessions that are open.
            TellOnceInAWhile();
        }
        finally
        {
            if (_hasPassed) _trustedUntil = Environment.TickCount64 + TrustedMilliseconds;
            _one.Release();
        }
    }

    // Two clients mark their sessions. If each client has a session of its own, it always finds its own mark, no matter
    // how often and in which order the two look.
    private async Task<bool> SharesSessionsAsync(NpgsqlConnection one)
    {
        var alone = new NpgsqlConnectionStringBuilder(connectionString.ConnectionString) { Pooling = false, KeepAlive = 0 };
        await using var other = new NpgsqlConnection(alone.ConnectionString);
        await other.OpenAsync();
        await MarkAsync(one, nameof(one));
        await MarkAsync(other, nameof(other));
        for (var round = 0; round < Rounds; round++)
        {
            // The other client looks twice in a row. Otherwise a pooler that deals its sessions out in turn could give
            // each client the same session each time.
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

    // A pooler greets before it has a session to give, and then lets its client wait for minutes. So the connect
    // timeout applies to the command.
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
