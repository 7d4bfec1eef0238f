using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Tells a store that is away, which is waited for, from a defect, which is told.</summary>
public static class Stores
{
    /// <summary>Whether the exception says that Redis or Postgres is away, loading, full or restarting.</summary>
    public static bool IsAway(Exception e) => IsRedisAway(e) || Postgres.IsTransient(e);

    /// <summary>Whether the exception says that Redis is away, loading or full.</summary>
    public static bool IsRedisAway(Exception e) => e is RedisUnavailableException or RedisOutcomeUnknownException or RedisServerException;
}
