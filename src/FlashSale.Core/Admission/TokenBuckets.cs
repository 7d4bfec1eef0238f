using System.Runtime.InteropServices;

namespace FlashSale.Admission;

/// <summary>
/// The token buckets of one rule on this node, one for each partition that has been seen lately. A full bucket says
/// nothing that a new one would not, so it is forgotten: what remains is bounded by who came within the time a bucket
/// takes to fill. About 100 bytes each. Thread-safe.
/// </summary>
public sealed class TokenBuckets(double capacity, double refillPerSecond, PenaltyBox? penalty)
{
    private const int Shards = 32;
    private const int SweepAt = 256;

    // Keys are often chosen by whoever sends the request: multiplied by a secret they cannot be made to collide.
    private static readonly ulong Secret = (ulong)Random.Shared.NextInt64() | 1;

    private readonly double _perMillisecond = refillPerSecond / 1_000;
    private readonly Shard[] _shards = [.. Enumerable.Range(0, Shards).Select(_ => new Shard())];

    /// <summary>How many partitions are remembered.</summary>
    public int Count => _shards.Sum(shard => shard.Buckets.Count);

    /// <summary>Takes tokens, or tells how long to wait for them.</summary>
    /// <param name="partition">Whose bucket.</param>
    /// <param name="cost">Tokens.</param>
    /// <param name="now">Milliseconds of a monotonic clock.</param>
    /// <returns>Whether they were taken; what is left; milliseconds until they are there.</returns>
    public (bool Taken, double Left, long WaitMilliseconds) Take(ulong partition, double cost, long now)
    {
        var (shard, key) = Find(partition);
        lock (shard)
        {
            if (shard.Buckets.Count >= shard.SweepAt) Sweep(shard, now);
            ref var bucket = ref CollectionsMarshal.GetValueRefOrAddDefault(shard.Buckets, key, out var known);
            if (!known) (bucket.Tokens, bucket.At) = (capacity, now);
            Refill(ref bucket, now);
            if (bucket.BlockedUntil > now) return (false, 0, bucket.BlockedUntil - now);
            if (bucket.Tokens >= cost)
            {
                bucket.Tokens -= cost;
                return (true, bucket.Tokens, 0);
            }
            if (penalty is not null && Punish(ref bucket, now)) return (false, 0, bucket.BlockedUntil - now);
            return (false, bucket.Tokens, (long)Math.Ceiling((cost - bucket.Tokens) / _perMillisecond));
        }
    }

    /// <summary>Gives back what a request took that another rule refused.</summary>
    public void GiveBack(ulong partition, double cost)
    {
        var (shard, key) = Find(partition);
        lock (shard)
        {
            ref var bucket = ref CollectionsMarshal.GetValueRefOrNullRef(shard.Buckets, key);
            if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref bucket)) bucket.Tokens = Math.Min(capacity, bucket.Tokens + cost);
        }
    }

    /// <summary>Forgets who is not known for anything any more. Called now and then, so that memory follows the load down.</summary>
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

    private void Refill(ref Bucket bucket, long now)
    {
        if (now <= bucket.At) return;
        bucket.Tokens = Math.Min(capacity, bucket.Tokens + (now - bucket.At) * _perMillisecond);
        bucket.At = now;
    }

    private bool Punish(ref Bucket bucket, long now)
    {
        if (now - bucket.RejectedSince > penalty!.WithinSeconds * 1_000L || bucket.Rejections == 0) (bucket.RejectedSince, bucket.Rejections) = (now, 0);
        if (++bucket.Rejections < penalty.Rejections) return false;
        bucket.BlockedUntil = now + penalty.BlockSeconds * 1_000L;
        bucket.Rejections = 0;
        return true;
    }

    private void Sweep(Shard shard, long now)
    {
        foreach (var (key, kept) in shard.Buckets)
        {
            var bucket = kept;
            Refill(ref bucket, now);
            var waits = bucket.BlockedUntil > now || (bucket.Rejections > 0 && now - bucket.RejectedSince <= penalty!.WithinSeconds * 1_000L);
            // Removing while walking is allowed for this collection.
            if (bucket.Tokens >= capacity && !waits) shard.Buckets.Remove(key);
        }
        if (shard.Buckets.EnsureCapacity(0) > Math.Max(SweepAt, shard.Buckets.Count * 4)) shard.Buckets.TrimExcess(Math.Max(shard.Buckets.Count, 1));
        shard.SweepAt = Math.Max(SweepAt, shard.Buckets.Count * 2);
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Bucket
    {
        public double Tokens;
        public long At;
        public long BlockedUntil;
        public long RejectedSince;
        public int Rejections;
    }

    private sealed class Shard
    {
        public Dictionary<ulong, Bucket> Buckets { get; } = [];

        public int SweepAt { get; set; } = TokenBuckets.SweepAt;
    }
}
