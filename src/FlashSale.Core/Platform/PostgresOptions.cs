using System.ComponentModel.DataAnnotations;

namespace FlashSale.Platform;

/// <summary>The address of Postgres, and the share of it that a host may take. Section <c>Postgres</c>.</summary>
public sealed class PostgresOptions
{
    /// <summary>
    /// libpq URI: <c>postgresql://user:password@host:port/database</c>, with several hosts and parameters as
    /// <see cref="PostgresUrl"/> takes them.
    /// </summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>libpq URI of a replica that shoppers' orders are read from. By default there is no replica.</summary>
    [Secret]
    public string? ReplicaUrl { get; set; }

    /// <summary>How far the replica may lag behind the primary and still be read, in milliseconds.</summary>
    [Range(500, 600_000)]
    public int ReplicaLagMilliseconds { get; set; } = 2_000;

    /// <summary>
    /// Most connections of this host to the primary, and as many again to the replica. Multiplied by the number of
    /// hosts, it must stay below max_connections.
    /// </summary>
    [Range(1, 1_000)]
    public int MaxPoolSize { get; set; } = 20;

    /// <summary>Longest time that a statement may run, in milliseconds. Long jobs raise it for themselves.</summary>
    [Range(100, 600_000)]
    public int StatementTimeoutMilliseconds { get; set; } = 30_000;

    /// <summary>Longest time that a statement may wait for a lock, in milliseconds.</summary>
    [Range(100, 600_000)]
    public int LockTimeoutMilliseconds { get; set; } = 15_000;
}
