using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Translates a libpq URI into Npgsql's settings. Parameters have the meaning that libpq gives them. A parameter that
/// the hosts cannot honour is refused.
/// </summary>
public static class PostgresUrl
{
    private const int DefaultPort = 5432;
    private const int DefaultConnectSeconds = 5;
    private const int LongestConnectSeconds = 60;

    // The parameter 'options' is not allowed, because the hosts send their own. 'alter role … set' does the same at the
    // server.
    private static readonly string[] Known =
    [
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "load_balance_hosts", "sslcert", "sslkey", "sslmode", "sslnegotiation",
        "sslpassword", "sslrootcert", "target_session_attrs",
    ];

    // A host writes, so it has no use for a server that takes no writes.
    private static readonly string[] PrimaryTargets = ["read-write", "primary"];
    private static readonly string[] ReplicaTargets = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];

    /// <summary>Reads the URI of a primary.</summary>
    /// <exception cref="InvalidSettingException">The text is not a libpq URI, or a parameter cannot be
    /// honoured.</exception>
    public static NpgsqlConnectionStringBuilder Read(string url) => Read("Postgres:Url", url, PrimaryTargets);

    /// <summary>Reads the URI of a replica, which need not take writes.</summary>
    /// <exception cref="InvalidSettingException">The text is not a libpq URI, or a parameter cannot be
    /// honoured.</exception>
    public static NpgsqlConnectionStringBuilder ReadReplica(string url) => Read("Postgres:ReplicaUrl", url, ReplicaTargets);

    private static NpgsqlConnectionStringBuilder Read(string setting, string text, string[] targets)
    {
        var url = ServerUrl.Read(
            setting, "postgresql://user:password@host:port/database", text, ["postgresql", "postgres"], Known);
        if (url.Path.Length == 0) throw url.Malformed();
        var connection = new NpgsqlConnectionStringBuilder
        {
            Database = url.Path,
            Username = url.User,
            Password = url.Password,
            ApplicationName = url.Text("application_name"),
            // Npgsql takes 0 for no limit, so the least value is 1.
            Timeout = url.Number("connect_timeout", 1, LongestConnectSeconds) ?? DefaultConnectSeconds,
        };
        ReadHosts(url, targets, connection);
        ReadSecurity(url, connection);
        return connection;
    }

    private static void ReadHosts(ServerUrl url, string[] targets, NpgsqlConnectionStringBuilder connection)
    {
        var target = url.Choice("target_session_attrs", targets);
        var spread = url.Choice("load_balance_hosts", "disable", "random") == "random";
        if (url.Hosts is [var only])
        {
            (connection.Host, connection.Port) = (only.Name, only.Port ?? DefaultPort);
            // With one host nothing looks for a primary. The first write notices a server that takes no writes.
            if (target is not null && target != targets[0] && targets == ReplicaTargets || spread)
                throw url.Refusal(
                    $"parameter '{(spread ? "load_balance_hosts" : "target_session_attrs")}' needs several hosts to choose from.");
            return;
        }
        // One answer about the lag holds for all connections for a moment, so they must lead to one server.
        if (spread && targets == ReplicaTargets) throw url.Refusal("parameter 'load_balance_hosts' is not possible for a replica, whose lag is measured.");
        connection.Host = string.Join(',', url.Hosts.Select(host => $"{host.Name}:{host.Port ?? DefaultPort}"));
        connection.TargetSessionAttributes = target ?? targets[0];
        connection.LoadBalanceHosts = spread;
        // By default Npgsql looks at a host again only after ten seconds, so it would find a promoted standby that
        // late.
        connection.HostRecheckSeconds = 1;
    }

    private static void ReadSecurity(ServerUrl url, NpgsqlConnectionStringBuilder connection)
    {
        var mode = url.Choice("sslmode", "disable", "allow", "prefer", "require", "verify-ca", "verify-full");
        if (url.Text("sslrootcert") == "system")
        {
            // 'system' means the authorities of the machine. Npgsql uses them when no file is named, and libpq demands
            // the full check with them.
            if (mode is not (null or "verify-full")) throw url.Refusal("'sslrootcert=system' needs sslmode=verify-full.");
            mode = "verify-full";
        }
        else if (url.ExistingFile("sslrootcert") is { } authority)
        {
            connection.RootCertificate = authority;
            // As with libpq, a named authority is always asked, so 'require' becomes 'verify-ca'.
            if (mode == "require") mode = "verify-ca";
            if (mode is not ("verify-ca" or "verify-full"))
                throw url.Refusal("parameter 'sslrootcert' needs sslmode=require, verify-ca or verify-full.");
        }
        // libpq's names have dashes, which Npgsql's names lack. They differ in nothing else.
        if (mode is not null) connection.SslMode = Named<SslMode>(mode);
        if (url.ExistingFile("sslcert") is { } certificate) connection.SslCertificate = certificate;
        if (url.ExistingFile("sslkey") is { } key) connection.SslKey = key;
        if (url.Text("sslpassword") is { } password) connection.SslPassword = password;
        if (url.Choice("sslnegotiation", "postgres", "direct") is { } negotiation)
            connection.SslNegotiation = Named<SslNegotiation>(negotiation);
        if (url.Choice("channel_binding", "disable", "prefer", "require") is { } binding)
            connection.ChannelBinding = Named<ChannelBinding>(binding);
        if (url.Choice("gssencmode", "disable", "prefer", "require") is { } encryption)
            connection.GssEncryptionMode = Named<GssEncryptionMode>(encryption);
    }

    private static T Named<T>(string value) where T : struct, Enum =>
        Enum.Parse<T>(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true);
}
