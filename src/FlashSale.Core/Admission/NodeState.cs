using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>At which degradation level a node works, as it reports it.</summary>
/// <param name="Level">0-5.</param>
/// <param name="Cause">For people.</param>
/// <param name="Since">Unix milliseconds.</param>
/// <param name="At">When it was reported, Redis TIME, Unix milliseconds.</param>
public sealed record NodeState(int Level, string Cause, long Since, long At)
{
    /// <summary>Hash of the reports, by node.</summary>
    public static readonly RedisKey Key = "fs:ops:nodes";

    // A node reports every second; one that is silent is gone.
    private const long LifeMilliseconds = 10_000;

    /// <summary>As JSON.</summary>
    public static JsonTypeInfo<NodeState> Json => NodeStateJson.Default.NodeState;

    /// <summary>The nodes that have reported lately, by name. Those that are gone are forgotten.</summary>
    public static async Task<SortedDictionary<string, NodeState>> ReadAllAsync(RedisConnection redis)
    {
        var nodes = new SortedDictionary<string, NodeState>(StringComparer.Ordinal);
        foreach (var (name, json) in (await redis.CallAsync(database => database.HashGetAllAsync(Key))).Select(entry => ((string)entry.Name!, (byte[])entry.Value!)))
        {
            var state = JsonSerializer.Deserialize(json, Json)!;
            if (redis.NowMilliseconds - state.At <= LifeMilliseconds) nodes.Add(name, state);
            else await redis.CallAsync(database => database.HashDeleteAsync(Key, name));
        }
        return nodes;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(NodeState))]
internal sealed partial class NodeStateJson : JsonSerializerContext;
