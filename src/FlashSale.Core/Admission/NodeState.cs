using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>The report of a node about its degradation level.</summary>
/// <param name="Level">0-5.</param>
/// <param name="Cause">The cause of the level, for people.</param>
/// <param name="Since">Beginning of the level, Unix milliseconds.</param>
/// <param name="At">The time of the report, Redis TIME, Unix milliseconds.</param>
public sealed record NodeState(int Level, string Cause, long Since, long At)
{
    /// <summary>The Redis hash of the reports: node name -> JSON.</summary>
    public static readonly RedisKey Key = "fs:ops:nodes";

    // A node reports every second. One that is silent for this long is gone.
    private const long LifeMilliseconds = 10_000;

    /// <summary>The JSON form of a report.</summary>
    public static JsonTypeInfo<NodeState> Json => NodeStateJson.Default.NodeState;

    /// <summary>
    /// Reads the reports of the nodes that have reported lately, by name. Deletes the reports of nodes that are gone.
    /// </summary>
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
