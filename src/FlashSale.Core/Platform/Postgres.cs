using System.ComponentModel.DataAnnotations;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>Where Postgres is and how much of it a host may take. Section <c>Postgres</c>.</summary>
public sealed class PostgresOptions
{
    /// <summary>libpq URI: <c>postgresql://user:password@host:port/database</c>.</summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>libpq URI of a replica that shoppers' orders are read from; none by default.</summary>
    [Secret]
    public string? ReplicaUrl { get; set; }

    /// <summary>Most connections of this host, and as many to the replica; times the number of hosts it must stay below max_connections.</summary>
    [Range(1, 1_000)]
    public int MaxPoolSize { get; set; } = 20;

    /// <summary>Longest a statement may run, in milliseconds. Long jobs raise it for themselves.</summary>
    [Range(100, 600_000)]
    public int StatementTimeoutMilliseconds { get; set; } = 30_000;

    /// <summary>Longest a statement may wait for a lock, in milliseconds.</summary>
    [Range(100, 600_000)]
    public int LockTimeoutMilliseconds { get; set; } = 15_000;
}

/// <summary>Makes the one data source of a host.</summary>
public static class Postgres
{
    /// <summary>Opens a pool. Does not connect yet.</summary>
    /// <exception cref="InvalidSettingException">The URL is not a libpq URI.</exception>
    public static NpgsqlDataSource CreateDataSource(PostgresOptions options, string applicationName) => Create(FromUrl(options.Url), options, applicationName);

    /// <summary>Opens a pool to the replica.</summary>
    /// <exception cref="InvalidSettingException">The URL is not a libpq URI.</exception>
    public static NpgsqlDataSource CreateReplicaSource(PostgresOptions options, string applicationName) =>
        Create(FromUrl(options.ReplicaUrl!, "Postgres:ReplicaUrl"), options, applicationName);

    private static NpgsqlDataSource Create(NpgsqlConnectionStringBuilder connection, PostgresOptions options, string applicationName)
    {
        connection.ApplicationName = applicationName;
        connection.MaxPoolSize = options.MaxPoolSize;
        connection.Timeout = 5;
        connection.CommandTimeout = 0;   // the server's statement_timeout decides, and says so
        connection.KeepAlive = 15;
        // A connection without prepared statements is cleaned by DISCARD ALL when it changes hands, and every plan within it is made anew.
        connection.MaxAutoPrepare = 32;
        connection.AutoPrepareMinUsages = 2;
        connection.TcpKeepAlive = true;
        connection.Options = $"-c statement_timeout={options.StatementTimeoutMilliseconds} -c lock_timeout={options.LockTimeoutMilliseconds} -c idle_in_transaction_session_timeout=60000"
            // Prepared once, planned each time: a plan made while a table was small must not scan it when it is large. Who can do with one says so.
            + " -c plan_cache_mode=force_custom_plan"
            // The server lets go of the locks of a host that lost its power: by default it would wait two hours.
            + " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000";
        return NpgsqlDataSource.Create(connection);
    }

    /// <summary>Reads a libpq URI into Npgsql's terms.</summary>
    /// <exception cref="InvalidSettingException">It is not one.</exception>
    public static NpgsqlConnectionStringBuilder FromUrl(string url, string setting = "Postgres:Url")
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Scheme is not ("postgres" or "postgresql") || uri.AbsolutePath.Length < 2)
            throw new InvalidSettingException($"{setting} = (hidden): must be postgresql://user:password@host:port/database.");
        var user = uri.UserInfo.Split(':', 2);
        return new NpgsqlConnectionStringBuilder
        {
            Host = uri.Host,
            Port = uri.Port > 0 ? uri.Port : 5432,
            Database = Uri.UnescapeDataString(uri.AbsolutePath[1..]),
            Username = Uri.UnescapeDataString(user[0]),
            Password = user.Length > 1 ? Uri.UnescapeDataString(user[1]) : null,
        };
    }

    /// <summary>Whether trying again may help: connections, deadlocks, timeouts, a server that restarts or is full.</summary>
    public static bool IsTransient(Exception e) =>
        e is PostgresException postgres
            ? postgres.SqlState[..2] is "08" or "40" or "53" or "55" or "57" or "58"
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException or DependencyRejectedException;

    /// <summary>Whether the exception speaks against the server: away, full, restarting or too slow; a lock that is held or a deadlock does not.</summary>
    public static bool IsAway(Exception e) =>
        e is PostgresException postgres
            ? postgres.SqlState[..2] is "08" or "53" or "57" or "58"
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException;

    /// <summary>Whether a read is worth trying again at once: its connection broke, as those of a pool do when the server restarts. Not where the time was up.</summary>
    public static bool IsBroken(Exception e) =>
        IsAway(e) && e is not (TimeoutException or PostgresException { SqlState: PostgresErrorCodes.QueryCanceled }) && e.InnerException is not TimeoutException;
}
