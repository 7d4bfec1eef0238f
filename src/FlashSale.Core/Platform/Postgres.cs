using System.Security.Authentication;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>Makes the data sources of a host, and classifies the failures of Postgres.</summary>
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
    /// Whether trying again may help: the connection broke, a deadlock or a timeout came up, or the server restarts, is
    /// full or takes no writes.
    /// </summary>
    public static bool IsTransient(Exception e) =>
        e is PostgresException postgres
            ? postgres.SqlState[..2] is "40" or "55" || SpeaksAgainstServer(postgres.SqlState)
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException or DependencyRejectedException;

    /// <summary>
    /// Whether the exception speaks against the server: it is away, full, restarting, read-only or too slow. A deadlock
    /// or a lock that is held does not speak against it.
    /// </summary>
    public static bool IsAway(Exception e) =>
        e is PostgresException postgres
            ? SpeaksAgainstServer(postgres.SqlState)
            : e is NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException;

    /// <summary>
    /// Whether a read is worth trying again at once because its connection broke, as those of a pool do when the server
    /// restarts. A read that ran out of time is not.
    /// </summary>
    public static bool IsBroken(Exception e) =>
        IsAway(e) && e is not (TimeoutException or PostgresException { SqlState: PostgresErrorCodes.QueryCanceled }) && e.InnerException is not TimeoutException;

    /// <summary>
    /// Returns the refusal of a setting when the setting is the cause of the failure to connect, so that waiting cannot
    /// help. Returns null for all other failures.
    /// </summary>
    /// <param name="e">The exception from opening a connection.</param>
    /// <param name="setting">Name of the setting with the URL.</param>
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

    /// <summary>
    /// Says why there is no connection. If a server greets and then stays silent, Npgsql's own message explains
    /// nothing, so this one replaces it.
    /// </summary>
    public static string Reason(Exception e) =>
        e is NpgsqlException { InnerException: TimeoutException }
            ? "it takes a connection and does not answer: "
                + "the server is stuck, or a pooler has fewer sessions than its clients need (pool_size)"
            : e.Message;

    // Classes 08, 53, 57 and 58 stand for connections, resources, operators (57P01 to 57P05) and the system. With class
    // 28 and 3D000 the server lets nobody in. The other codes say that the session leads to a server that takes no
    // writes, or that the server ended it because it kept a transaction open.
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
        // Npgsql cleans a connection without prepared statements by DISCARD ALL when it changes hands. Postgres would
        // then make every plan in it anew.
        connection.MaxAutoPrepare = 32;
        connection.AutoPrepareMinUsages = 2;
        connection.TcpKeepAlive = true;
        var sessions = new PostgresSessions(setting, options, connection, logger);
        // The limits are startup parameters and not set by SET, because the reset between two uses of a pooled
        // connection goes back to the startup parameters.
        connection.Options = sessions.StartupOptions
            // With these the server lets go of the locks of a host that lost its power. By default it would wait two
            // hours.
            + " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000";
        var builder = new NpgsqlDataSourceBuilder(connection.ConnectionString);
        // All code opens connections asynchronously, so the synchronous initializer only throws.
        builder.UsePhysicalConnectionInitializer(
            static _ => throw new NotSupportedException("Open connections to Postgres asynchronously."), sessions.CheckAsync);
        return builder.Build();
    }
}
