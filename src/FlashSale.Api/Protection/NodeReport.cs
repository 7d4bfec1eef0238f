using System.Text.Json;
using FlashSale.Admission;
using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Api.Protection;

/// <summary>
/// Writes the degradation level of this node to Redis once a second. Operators read the levels of all nodes there.
/// </summary>
public sealed class NodeReport(RedisConnection redis, Degradation degradation, ManagementPort ports) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var name = $"{Environment.MachineName}:{ports.Host}";
        using var timer = new PeriodicTimer(Interval);
        do
        {
            try
            {
                var state = degradation.State;
                var json = JsonSerializer.SerializeToUtf8Bytes(new NodeState(state.Level, state.Cause, state.Since, redis.NowMilliseconds), NodeState.Json);
                await redis.CallAsync(database => database.HashSetAsync(NodeState.Key, name, json));
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // Redis is away. The next report follows in a second.
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
