using Microsoft.AspNetCore.Builder;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>
/// Tells a store that is away from a defect. Callers wait for a store that is away, and report a defect.
/// </summary>
public static class Stores
{
    /// <summary>Whether the exception says that Redis or Postgres is away, loading, full or restarting.</summary>
    public static bool IsAway(Exception e) => IsRedisAway(e) || Postgres.IsTransient(e);

    /// <summary>
    /// Whether the exception says that Redis is away, loading or full, or that it refused the command with any other
    /// error.
    /// </summary>
    public static bool IsRedisAway(Exception e) => e is RedisUnavailableException or RedisOutcomeUnknownException or RedisServerException;

    /// <summary>
    /// Adds the dependency on Redis: the pipelines for calls beside purchases, and the breaker of purchases.
    /// </summary>
    public static void AddRedisDependency(this WebApplicationBuilder builder) => builder.AddDependency(new(
        Dependency.Redis, "Redis",
        new DependencyOptions { TimeoutMilliseconds = 1_000, Retries = 1, RetryMilliseconds = 20, MinCalls = 4, SamplingSeconds = 1, BreakMilliseconds = 500, MaxConcurrent = 1_000, WaitMilliseconds = 100 },
        static e => e is RedisUnavailableException or RedisOutcomeUnknownException,
        // If there is no connection, a second attempt would fail as well.
        static e => e is RedisOutcomeUnknownException));

    /// <summary>
    /// Adds the dependency on Postgres for this host's requests, and one on the replica if it is configured. Each
    /// allows no more calls at once than its pool has connections.
    /// </summary>
    public static void AddPostgresDependency(this WebApplicationBuilder builder)
    {
        var options = Settings.Read<PostgresOptions>(builder.Configuration, "Postgres");
        builder.AddDependency(PostgresDefinition(Dependency.Postgres, options));
        if (options.ReplicaUrl is { Length: > 0 }) builder.AddDependency(PostgresDefinition(Dependency.PostgresReplica, options));
    }

    private static DependencyDefinition PostgresDefinition(string name, PostgresOptions options) => new(
        name, "Postgres",
        new DependencyOptions { TimeoutMilliseconds = 5_000, Retries = 1, RetryMilliseconds = 50, MinCalls = 8, SamplingSeconds = 5, BreakMilliseconds = 1_000, WaitMilliseconds = 500 },
        Postgres.IsAway, Postgres.IsBroken) { MaxConcurrent = options.MaxPoolSize };
}
