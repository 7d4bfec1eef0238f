using System.Security.Authentication;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>Makes the data sources of a host, and knows Postgres' failures.</summary>
public static class Postgres
{
    private const string UnsupportedStartupParameter = "unsupported startup parameter";
    private const string IdleInTransaction = "25P03";
    private const string TransactionTimeout = "25P04";

    /// <summary>Opens a pool. Does not connect yet.</summary>
    /// <exception cref="InvalidSettingException">The URL is not a libpq URI, or cannot be honoured.</exception>
    public static NpgsqlDataSource CreateDataSource(PostgresOptions options, string applicationName, ILogger logger) =>
        Create("Postgres:Url", PostgresUrl.Read(options.Url), options, applicationName, logger);

    /// <summary>Opens a pool to the replica.</summary>
    /// <exception cref="InvalidSettingException">The URL is not a libpq URI, or cannot be honoured.</exception>
    public static NpgsqlDataSource CreateReplicaSource(PostgresOptions options, string applicationName, ILogger logger) =>
        Create("Postgres:ReplicaUrl", PostgresUrl.ReadReplica(options.ReplicaUrl!), options, applicationName, logger);

    /// <summary>
    /// Whether trying again may help: connections, deadlocks, timeouts, a server that restarts, is full or takes no
    /// writes.
    /// </summary>
    public static bool IsTransient(Exception e) =>
        e is PostgresException postgres
            ? postgres.SqlState[..2] is "40" or "55" || SpeaksAgainstServer(postgres.SqlState)
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException or DependencyRejectedException;

    /// <summary>
    /// Whether the exception speaks against the server: away, full, restarting, read-only or too slow; a lock that is
    /// held or a deadlock does not.
    /// </summary>
    public static bool IsAway(Exception e) =>
        e is PostgresException postgres
            ? SpeaksAgainstServer(postgres.SqlState)
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException;

    /// <summary>Whether a read is worth trying again at once: its connection broke, as those of a pool do when the server restarts. Not where the time was up.</summary>
    public static bool IsBroken(Exception e) =>
        IsAway(e) && e is not (TimeoutException or PostgresException { SqlState: PostgresErrorCodes.QueryCanceled }) && e.InnerException is not TimeoutException;

    /// <summary>
    /// Answers the refusal of a setting when that is behind the failure to connect, so that waiting cannot help; null
    /// for all else.
    /// </summary>
    /// <param name="e">Of opening a connection.</param>
    /// <param name="setting">The setting with the URL.</param>
    public static InvalidSettingException? Misconfigured(Exception e, string setting = "Postgres:Url") => e switch
    {
        InvalidSettingException refusal => refusal,
        PostgresException { SqlState: PostgresErrorCodes.ProtocolViolation, MessageText: var refused }
            when refused.StartsWith(UnsupportedStartupParameter, StringComparison.Ordinal) =>
            new($"{setting} = (hidden): a pooler refuses the connection: {refused}. "
                + "The host sends its time limits in the startup parameter 'options'. "
                + "With ignore_startup_parameters = options PgBouncer takes the connection and drops them: "
                + "it must also be in session mode, and the limits be set at the server with alter role … set "
                + "(the host then says which)."),
        NpgsqlException { InnerException: AuthenticationException untrusted } =>
            new($"{setting} = (hidden): the server's certificate is not trusted: {untrusted.Message} "
                + "sslrootcert may name another authority, and verify-full demands the host's name in it."),
        NpgsqlException { InnerException: null, Message: var message }
            when message.StartsWith("SSL connection requested", StringComparison.Ordinal) =>
            new($"{setting} = (hidden): sslmode demands TLS, and the server has none for this host: {message}"),
        _ => null,
    };

    /// <summary>Says why there is no connection. The client's own words for a server that greets and then keeps silent say nothing.</summary>
    public static string Reason(Exception e) =>
        e is NpgsqlException { InnerException: TimeoutException }
            ? "it takes a connection and does not answer: "
                + "the server is stuck, or a pooler has fewer sessions than its clients need (pool_size)"
            : e.Message;

    // Classes 08, 53, 57 and 58 are connections, room, operators (57P01 to 57P05) and the system. In class 28 and with
    // 3D000 the server lets nobody in. The others say that the session leads to a server that takes no writes, or was
    // ended because it kept a transaction open.
    private static bool SpeaksAgainstServer(string state) =>
        state[..2] is "08" or "28" or "53" or "57" or "58"
        || state is PostgresErrorCodes.ReadOnlySqlTransaction or IdleInTransaction or TransactionTimeout or PostgresErrorCodes.InvalidCatalogName;

    private static NpgsqlDataSource Create(
        string setting, NpgsqlConnectionStringBuilder connection, PostgresOptions options, string applicationName, ILogger logger)
    {
        connection.ApplicationName ??= applicationName;
        connection.MaxPoolSize = options.MaxPoolSize;
        connection.CommandTimeout = 0;   // the server's statement_timeout decides, and says so
        connection.KeepAlive = 15;
        // A connection without prepared statements is cleaned by DISCARD ALL when it changes hands, and every plan within it is made anew.
        connection.MaxAutoPrepare = 32;
        connection.AutoPrepareMinUsages = 2;
        connection.TcpKeepAlive = true;
        var sessions = new PostgresSessions(setting, options, connection, logger);
        // As startup parameters, not by SET: the reset between two uses of a pooled connection goes back to these.
        connection.Options = sessions.StartupOptions
            // The server lets go of the locks of a host that lost its power: by default it would wait two hours.
            + " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000";
        var builder = new NpgsqlDataSourceBuilder(connection.ConnectionString);
        // Nothing here opens connections without async.
        builder.UsePhysicalConnectionInitializer(
            static _ => throw new NotSupportedException("Open connections to Postgres asynchronously."), sessions.CheckAsync);
        return builder.Build();
    }
}
