using System.Diagnostics.Metrics;
using System.Net;
using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Admission;

/// <summary>
/// Keeps a node's blocklist: at each look it reads the changes that were published since the last one. When the stream
/// has another generation, Redis lost the old stream. The node then reads the new one to its end before it uses it. It
/// does the same after an hour without Redis, since removals are kept for a day only. While there is no stream, or no
/// Redis, the known list stays in force.
/// </summary>
public sealed class BlocklistFeed : RedisFeed
{
    // Purchases wait behind each read on the same connection, so a read must be short.
    private const int Chunk = 1_000;

    private static readonly TimeSpan LongestAbsence = TimeSpan.FromHours(1);
    private static readonly TimeSpan ChunkDeadline = TimeSpan.FromSeconds(10);
    private static readonly Meter Meter = new("FlashSale.Admission");

    private readonly TimeProvider _time;
    private volatile Blocklist? _list;
    private string? _generation;
    private long _version;
    private DateTimeOffset _readAt;

    /// <summary>
    /// Prepares to follow <see cref="BlocklistPublisher.Stream"/>, and shows the number of entries as a metric.
    /// </summary>
    public BlocklistFeed(RedisConnection redis, TimeProvider time, ILogger<BlocklistFeed> logger) : base(redis, BlocklistPublisher.Stream.ToString(), logger)
    {
        _time = time;
        Meter.CreateObservableGauge("flashsale_blocklist_entries", () => _list?.Count ?? 0, description: "Entries of the blocklist that this node holds.");
    }

    /// <summary>Whether the list has been read to its end once.</summary>
    public override bool IsReady => _list is not null;

    /// <summary>
    /// Whether any of these is blocked now, by the clock of Redis. See <see cref="Blocklist.Blocks"/>. False before the
    /// first read.
    /// </summary>
    public bool Blocks(ulong userHash, ulong clientHash, IPAddress? address) => _list is { } list && list.Blocks(userHash, clientHash, address, Redis.NowMilliseconds);

    /// <inheritdoc />
    protected override async Task LookAsync()
    {
        if (await GenerationAsync() is not { } generation) return;
        var now = _time.GetUtcNow();
        if (_list is { } known && generation == _generation && now - _readAt < LongestAbsence)
        {
            await ReadAsync(known, _version);
        }
        else
        {
            var fresh = new Blocklist();
            var version = await ReadAsync(fresh, 0);
            // The stream was lost or replaced during the read. The next look begins anew.
            if (await GenerationAsync() != generation) return;
            (_list, _generation, _version) = (fresh, generation, version);
        }
        _readAt = now;
    }

    // Returns null when there is no stream.
    private async Task<string?> GenerationAsync()
    {
        var first = await RangeAsync(BlocklistPublisher.GenerationId, BlocklistPublisher.GenerationId, 1);
        return first.Length == 0 ? null : (string)first[0].Values[0].Value!;
    }

    private async Task<long> ReadAsync(Blocklist list, long version)
    {
        for (var read = Chunk; read == Chunk;)
        {
            var entries = await RangeAsync($"{version + 1}-0", "+", Chunk);
            foreach (var entry in entries)
            {
                list.Apply(BlockChange.Decode((byte[])entry.Values[0].Value!), Redis.NowMilliseconds);
                version = StreamIds.FirstOf(entry.Id);
            }
            // The applied changes need no second read if the next chunk fails.
            if (ReferenceEquals(list, _list)) _version = version;
            read = entries.Length;
        }
        return version;
    }

    private Task<StreamEntry[]> RangeAsync(string from, string to, int count) =>
        Redis.CallAsync(database => database.StreamRangeAsync(BlocklistPublisher.Stream, from, to, count), ChunkDeadline);
}
