using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Platform;
using Microsoft.Extensions.Logging.Abstractions;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>
/// The watchdog does not cut off a long call that keeps Redis busy for longer than the watchdog waits.
/// </summary>
public sealed class LongCallTests
{
    private const string TwoSeconds = """
        local began, now = redis.call('TIME'), nil
        repeat now = redis.call('TIME') until (now[1] - began[1]) * 1000000 + now[2] - began[2] > 2000000
        return 'done'
        """;

    [Fact]
    public async Task A_connection_stays_for_as_long_as_a_long_call_runs_and_is_replaced_under_any_other()
    {
        await using var server = await RedisServer.StartNewAsync();
        await using var redis = await RedisConnection.ConnectAsync(
            new RedisOptions { Endpoint = server.Endpoint, DeadlineMilliseconds = 10_000, WatchdogMilliseconds = 100 }, NullLogger<RedisConnection>.Instance);
        await Eventually.TrueAsync("Redis is healthy", TimeSpan.FromSeconds(10), () => redis.IsHealthy);
        var replaced = 0;
        redis.Replaced += () => Interlocked.Increment(ref replaced);

        Assert.Equal("done", (string?)await redis.CallLongAsync(database => database.ExecuteAsync("EVAL", TwoSeconds, "0")));
        Assert.Equal(0, Volatile.Read(ref replaced));
        await Eventually.TrueAsync("Redis is healthy again", TimeSpan.FromSeconds(10), () => redis.IsHealthy);
        await Assert.ThrowsAsync<RedisOutcomeUnknownException>(() => redis.CallAsync(database => database.ExecuteAsync("EVAL", TwoSeconds, "0")));
        Assert.NotEqual(0, Volatile.Read(ref replaced));
    }
}
