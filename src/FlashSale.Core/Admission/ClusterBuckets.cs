using System.Globalization;
using FlashSale.Platform;
using Microsoft.Extensions.DependencyInjection;
using Polly.CircuitBreaker;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>A rule of cluster scope, and the partition that selects one of its buckets.</summary>
public readonly record struct ClusterRule(LimitRule Rule, ulong Partition);

/// <summary>
/// Calls take.lua: buckets that all nodes share. The calls go through the breaker of Redis, so a silent Redis delays
/// only few requests.
/// </summary>
public sealed class ClusterBuckets(RedisConnection redis, [FromKeyedServices(Dependency.Redis)] Dependency breaker)
{
    /// <summary>Stands in the place of the tokens left: the rule refuses.</summary>
    public const long Refused = -1;

    /// <summary>Stands in the place of the tokens left: the rule is monitor-only, and would refuse otherwise.</summary>
    public const long Watched = -2;

    private static readonly RedisScript Script = new("Admission.take.lua");
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Takes tokens from the buckets of all rules, or from no bucket. Returns for each rule the tokens left (or
    /// <see cref="Refused"/> or <see cref="Watched"/>) and the milliseconds to wait. Null when Redis does not answer.
    /// </summary>
    public async ValueTask<(long Left, long WaitMilliseconds)[]?> TakeAsync(List<ClusterRule> rules)
    {
        var keys = new RedisKey[rules.Count];
        var arguments = new RedisValue[rules.Count * 7];
        for (var i = 0; i < keys.Length; i++)
        {
            var (rule, partition) = rules[i];
            keys[i] = $"fs:{{limits}}:{rule.Name}:{partition:x}";
            RedisValue[] of =
            [
                rule.Capacity, (rule.RefillPerSecond / 1_000).ToString("R", CultureInfo.InvariantCulture), rule.Cost, rule.MonitorOnly ? 1 : 0,
                rule.Penalty?.Rejections ?? 0, (rule.Penalty?.WithinSeconds ?? 0) * 1_000L, (rule.Penalty?.BlockSeconds ?? 0) * 1_000L,
            ];
            of.CopyTo(arguments, i * 7);
        }
        try
        {
            var answer = await breaker.Breaker.ExecuteAsync(
                static async (call, _) => (long[])(await Script.CallAsync(call.Redis, call.Keys, call.Arguments, Patience))!,
                (Redis: redis, Keys: keys, Arguments: arguments));
            return [.. Enumerable.Range(0, keys.Length).Select(i => (answer[i * 2], answer[i * 2 + 1]))];
        }
        catch (BrokenCircuitException)
        {
            breaker.CountRejection();
            return null;
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            return null;
        }
    }
}
