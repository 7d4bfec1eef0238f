using System.ComponentModel.DataAnnotations;

namespace FlashSale.Platform;

/// <summary>Where Postgres is and how much of it a host may take. Section <c>Postgres</c>.</summary>
public sealed class PostgresOptions
{
    /// <summary>
    /// libpq URI: <c>postgresql://user:password@host:port/database</c>, with several hosts and parameters as <see
    /// cref="PostgresUrl"/> takes them.
    /// </summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>libpq URI of a replica that shoppers' orders are read from; none by default.</summary>
    [Secret]
    public string? ReplicaUrl { get; set; }

    /// <summary>How far the replica may be behind the primary to be read, in milliseconds.</summary>
    [Range(500, 600_000)]
    public int ReplicaLagMilliseconds { get; set; } = 2_000;

    /// <summary>
    /// Most connections of this host, and as many to the replica; times the number of hosts it must stay below
    /// max_connections.
    /// </summary>
    [Range(1, 1_000)]
    public int MaxPoolSize { get; set; } = 20;

    /// <summary>Longest a statement may run, in milliseconds. Long jobs raise it for themselves.</summary>
    [Range(100, 600_000)]
    public int StatementTimeoutMilliseconds { get; set; } = 30_000;

    /// <summary>Longest a statement may wait for a lock, in milliseconds.</summary>
    [Range(100, 600_000)]
    public int LockTimeoutMilliseconds { get; set; } = 15_000;
}
