using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>
/// Brings the documents of operators to a node within a second of their change. One that a node cannot read is logged,
/// and the last good one stays. Before the first look nothing is known to have been set.
/// </summary>
public sealed partial class OpsFeed(RedisConnection redis, ILogger<OpsFeed> logger) : RedisFeed(redis, Key.ToString(), logger)
{
    /// <summary>The hash in Redis, see <see cref="PublishedDocuments"/>.</summary>
    public static readonly RedisKey Key = "fs:ops";

    private readonly Dictionary<string, long> _seen = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Action<byte[]>> _followers = new(StringComparer.Ordinal);
    private volatile bool _isReady;

    /// <inheritdoc />
    public override bool IsReady => _isReady;

    /// <summary>Hands each new version of a document to its follower, one at a time. Called before the feed starts.</summary>
    /// <param name="name">As of <see cref="OpsSettings"/>.</param>
    /// <param name="follow">Takes UTF-8 JSON; throws <see cref="FormatException"/> on what it cannot read.</param>
    public void Follow(string name, Action<byte[]> follow) => _followers.Add(name, follow);

    /// <inheritdoc />
    protected override async Task LookAsync()
    {
        var versions = await PublishedDocuments.VersionsAsync(Redis, Key);
        foreach (var (name, follow) in _followers)
        {
            // A document that went away is a Redis that forgot: the worker publishes it again.
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
