using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Reads a libpq URI into Npgsql's terms. Parameters mean what they mean to libpq, and one that the hosts cannot honour
/// is refused.
/// </summary>
public static class PostgresUrl
{
    private const int DefaultPort = 5432;
    private const int DefaultConnectSeconds = 5;
    private const int LongestConnectSeconds = 60;

    // Not 'options': the hosts send their own. 'alter role … set' does the same at the server.
    private static readonly string[] Known =
    [
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "load_balance_hosts", "sslcert", "sslkey", "sslmode", "sslnegotiation",
        "sslpassword", "sslrootcert", "target_session_attrs",
    ];

    // A host writes: it has no use for a server that takes no writes.
    private static readonly string[] PrimaryTargets = ["read-write", "primary"];
    private static readonly string[] ReplicaTargets = ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];

    /// <summary>Reads the URI of a primary.</summary>
    /// <exception cref="InvalidSettingException">It is not a libpq URI, or has a parameter that cannot be honoured.</exception>
    public static NpgsqlConnectionStringBuilder Read(string url) => Read("Postgres:Url", url, PrimaryTargets);

    /// <summary>Reads the URI of a replica, which need not take writes.</summary>
    /// <exception cref="InvalidSettingException">It is not a libpq URI, or has a parameter that cannot be honoured.</exception>
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
            // 0 would be without end.
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
            // A primary that takes no writes is noticed by its first write.
            if (target is not null && target != targets[0] && targets == ReplicaTargets || spread)
                throw url.Refusal(
                    $"parameter '{(spread ? "load_balance_hosts" : "target_session_attrs")}' needs several hosts to choose from.");
            return;
        }
        connection.Host = string.Join(',', url.Hosts.Select(host => $"{host.Name}:{host.Port ?? DefaultPort}"));
        connection.TargetSessionAttributes = target ?? targets[0];
        connection.LoadBalanceHosts = spread;
        // By default Npgsql does not look at a host again for ten seconds: a promoted standby would be found so late.
        connection.HostRecheckSeconds = 1;
    }

    private static void ReadSecurity(ServerUrl url, NpgsqlConnectionStringBuilder connection)
    {
        var mode = url.Choice("sslmode", "disable", "allow", "prefer", "require", "verify-ca", "verify-full");
        if (url.Text("sslrootcert") == "system")
        {
            // The authorities of the machine: Npgsql's way without a file of its own, and to libpq never less than the
            // full check.
            if (mode is not (null or "verify-full")) throw url.Refusal("'sslrootcert=system' needs sslmode=verify-full.");
            mode = "verify-full";
        }
        else if (url.ExistingFile("sslrootcert") is { } authority)
        {
            connection.RootCertificate = authority;
            // As with libpq, an authority that is named is asked.
            if (mode == "require") mode = "verify-ca";
            if (mode is not ("verify-ca" or "verify-full"))
                throw url.Refusal("parameter 'sslrootcert' needs sslmode=require, verify-ca or verify-full.");
        }
        // The names differ from libpq's by their dashes only.
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
