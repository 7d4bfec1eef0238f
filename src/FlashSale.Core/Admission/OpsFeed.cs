using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>
/// Brings changed documents of operators to a node within a second. If a node cannot read a document, it logs that, and
/// the last good one stays in force. Before the first look, the node works as if operators had set nothing.
/// </summary>
public sealed partial class OpsFeed(RedisConnection redis, ILogger<OpsFeed> logger) : RedisFeed(redis, Key.ToString(), logger)
{
    /// <summary>The Redis hash of the documents, see <see cref="PublishedDocuments"/>.</summary>
    public static readonly RedisKey Key = "fs:ops";

    private readonly Dictionary<string, long> _seen = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Action<byte[]>> _followers = new(StringComparer.Ordinal);
    private volatile bool _isReady;

    /// <inheritdoc />
    public override bool IsReady => _isReady;

    /// <summary>
    /// Hands each new version of a document to its follower, one at a time. It must be called before the feed starts.
    /// </summary>
    /// <param name="name">The name, one of those in <see cref="OpsSettings"/>.</param>
    /// <param name="follow">
    /// Takes UTF-8 JSON. Throws <see cref="FormatException"/> on a document that it cannot read.
    /// </param>
    public void Follow(string name, Action<byte[]> follow) => _followers.Add(name, follow);

    /// <inheritdoc />
    protected override async Task LookAsync()
    {
        var versions = await PublishedDocuments.VersionsAsync(Redis, Key);
        foreach (var (name, follow) in _followers)
        {
            // A document that is gone means that Redis lost its data. The worker publishes it again.
            if (!versions.TryGetValue(name, out var version) || _seen.GetValueOrDefault(name) >= version) continue;
            if (await PublishedDocuments.ReadAsync(Redis, Key, name) is not { } json) continue;
            _seen[name] = version;
            try
            {
                follow(json);
                LogFollowed(name, version);
            }
            catch (FormatException e)
            {
                LogRefused(name, version, e.Message);
            }
        }
        _isReady = true;
    }

    [LoggerMessage(1, LogLevel.Information, "Follows version {Version} of the {Name}")]
    private partial void LogFollowed(string name, long version);

    [LoggerMessage(2, LogLevel.Error, "Version {Version} of the {Name} cannot be read, the last good one stays: {Reason}")]
    private partial void LogRefused(string name, long version, string reason);
}
