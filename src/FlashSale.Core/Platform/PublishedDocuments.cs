using System.Text.Json;
using System.Text.Json.Serialization;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>
/// Versioned JSON documents in a Redis hash, from which nodes take their snapshots: the sales, and the documents that
/// operators set. Redis takes only higher versions, so anyone may publish at any time, twice or late.
/// </summary>
public static class PublishedDocuments
{
    private static readonly RedisScript Script = new("Platform.publish.lua");

    /// <summary>Publishes a version of a document.</summary>
    /// <param name="redis">The Redis with the hash.</param>
    /// <param name="key">The hash. Its name is also the channel that announces changes.</param>
    /// <param name="name">Name of the document.</param>
    /// <param name="version">Version of the document, below 10^14.</param>
    /// <param name="json">The document in UTF-8. Empty bytes take it out.</param>
    /// <returns>0 if that version is published now, else the higher version that is there and stays.</returns>
    public static async Task<long> PublishAsync(RedisConnection redis, RedisKey key, string name, long version, byte[] json) =>
        // A catalog of 10,000 items is a megabyte, so the call may take long.
        (long)await Script.CallLongAsync(redis, [key], [name, version, json]);

    /// <summary>
    /// The version that took a document out. It is null if no version did, or if the document has come back since.
    /// </summary>
    public static async Task<long?> RemovedAsync(RedisConnection redis, RedisKey key, string name) =>
        (long?)await redis.CallAsync(database => database.HashGetAsync(key, "removed|" + name));

    /// <summary>The versions of the documents that are there, by name.</summary>
    public static async Task<Dictionary<string, long>> VersionsAsync(RedisConnection redis, RedisKey key)
    {
        var versions = (byte[]?)await redis.CallAsync(database => database.HashGetAsync(key, "versions"));
        return versions is null ? [] : JsonSerializer.Deserialize(versions, PublishedJson.Default.DictionaryStringInt64)!;
    }

    /// <summary>The JSON of a document in UTF-8, or null if it is not there.</summary>
    public static async Task<byte[]?> ReadAsync(RedisConnection redis, RedisKey key, string name) =>
        (byte[]?)await redis.CallLongAsync(database => database.HashGetAsync(key, name));
}

[JsonSerializable(typeof(Dictionary<string, long>))]
internal sealed partial class PublishedJson : JsonSerializerContext;
