using System.Runtime.InteropServices;

namespace FlashSale.Admission;

/// <summary>
/// The token buckets of one rule on this node, one for each partition seen lately. A full bucket holds no more
/// information than a new one, so it is forgotten. The memory is bounded by the partitions that came within the time
/// that a bucket takes to fill. A bucket is one number, the time at which it will be full, as in the generic cell rate
/// algorithm (ITU-T I.371). It takes about 50 bytes. Thread-safe.
/// </summary>
public sealed class TokenBuckets(double capacity, double refillPerSecond, PenaltyBox? penalty)
{
    private const int Shards = 32;
    private const int SweepAt = 256;

    // The sender of a request often chooses the key. Keys are multiplied by a secret, so they cannot be made to
    // collide.
    private static readonly ulong Secret = (ulong)Random.Shared.NextInt64() | 1;

    private readonly double _millisecondsPerToken = 1_000 / refillPerSecond;
    private readonly Shard[] _shards = [.. Enumerable.Range(0, Shards).Select(_ => new Shard())];

    /// <summary>Number of partitions that have a bucket.</summary>
    public int Count => _shards.Sum(shard => shard.FullAt.Count);

    /// <summary>Takes tokens, or returns the time to wait for them.</summary>
    /// <param name="partition">The partition that selects the bucket.</param>
    /// <param name="cost">Tokens to take.</param>
    /// <param name="now">Milliseconds of a monotonic clock.</param>
    /// <returns>Whether the tokens were taken, the tokens left, and the milliseconds until enough are there.</returns>
    public (bool Taken, double Left, long WaitMilliseconds) Take(ulong partition, double cost, long now)
    {
        var (shard, key) = Find(partition);
        lock (shard)
        {
            if (penalty is not null && shard.Offenders.TryGetValue(key, out var offender) && offender.BlockedUntil > now) return (false, 0, offender.BlockedUntil - now);
            if (shard.FullAt.Count >= shard.SweepAt) Sweep(shard, now);
            ref var fullAt = ref CollectionsMarshal.GetValueRefOrAddDefault(shard.FullAt, key, out _);
            var left = capacity - Math.Max(0, fullAt - now) / _millisecondsPerToken;
            if (left >= cost)
            {
                fullAt = Math.Max(fullAt, now) + cost * _millisecondsPerToken;
                return (true, left - cost, 0);
            }
            if (penalty is not null && Punish(shard, key, now) is { } blockedUntil) return (false, 0, blockedUntil - now);
            return (false, left, (long)Math.Ceiling((cost - left) * _millisecondsPerToken));
        }
    }

    /// <summary>Gives back the tokens of a request that another rule refused.</summary>
    public void GiveBack(ulong partition, double cost)
    {
        var (shard, key) = Find(partition);
        lock (shard)
        {
            ref var fullAt = ref CollectionsMarshal.GetValueRefOrNullRef(shard.FullAt, key);
            if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref fullAt)) fullAt -= cost * _millisecondsPerToken;
        }
    }

    /// <summary>
    /// Forgets full buckets, and refusals and blocks that no longer count. Called now and then, so that memory falls
    /// with the load.
    /// </summary>
    public void Forget(long now)
    {
        foreach (var shard in _shards)
        {
            lock (shard) Sweep(shard, now);
        }
    }

    private (Shard Shard, ulong Key) Find(ulong partition)
    {
        var key = partition * Secret;
        return (_shards[(int)(key >> 59)], key);
    }

    private long? Punish(Shard shard, ulong key, long now)
    {
        ref var offender = ref CollectionsMarshal.GetValueRefOrAddDefault(shard.Offenders, key, out var known);
        if (!known || now - offender.Since > penalty!.WithinSeconds * 1_000L) offender = new(now, 0, 0);
        if (++offender.Rejections < penalty!.Rejections) return null;
        offender = new(now, 0, now + penalty.BlockSeconds * 1_000L);
        return offender.BlockedUntil;
    }

    private void Sweep(Shard shard, long now)
    {
        foreach (var (key, fullAt) in shard.FullAt)
        {
            // Dictionary allows removing during an enumeration.
            if (fullAt <= now) shard.FullAt.Remove(key);
        }
        foreach (var (key, offender) in shard.Offenders)
        {
            if (offender.BlockedUntil <= now && now - offender.Since > penalty!.WithinSeconds * 1_000L) shard.Offenders.Remove(key);
        }
        Trim(shard.FullAt);
        Trim(shard.Offenders);
        shard.SweepAt = Math.Max(SweepAt, shard.FullAt.Count * 2);
    }

    private static void Trim<T>(Dictionary<ulong, T> dictionary)
    {
        if (dictionary.EnsureCapacity(0) > Math.Max(SweepAt, dictionary.Count * 4)) dictionary.TrimExcess(Math.Max(dictionary.Count, 1));
    }

    private struct Offender(long since, int rejections, long blockedUntil)
    {
        public readonly long Since = since;
        public readonly long BlockedUntil = blockedUntil;
        public int Rejections = rejections;
    }

    private sealed class Shard
    {
        public Dictionary<ulong, double> FullAt { get; } = [];

        public Dictionary<ulong, Offender> Offenders { get; } = [];

        public int SweepAt { get; set; } = TokenBuckets.SweepAt;
    }
}
