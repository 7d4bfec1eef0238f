using FlashSale.Admission;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.UnitTests.Admission;

/// <summary>Compares the buckets of a node with a plain model of a bucket.</summary>
public sealed class TokenBucketsTests
{
    private const int Capacity = 10;

    // A token in 256 ms is a rate without rounding, so model and buckets must agree to the last bit.
    private const double PerSecond = 1_000.0 / 256;

    [Fact]
    public void Any_history_of_takes_is_judged_as_by_the_model()
    {
        var step = Gen.Choose(0, 3).Zip(Gen.Choose(1, 5)).Zip(Gen.Choose(0, 1_500));
        Prop.ForAll(Arb.From(Gen.ArrayOf(step)), steps =>
        {
            var buckets = new TokenBuckets(Capacity, PerSecond, null);
            var model = new Dictionary<int, (double Tokens, long At)>();
            var now = 1_000L;
            foreach (var ((partition, cost), later) in steps)
            {
                now += later;
                var (tokens, at) = model.GetValueOrDefault(partition, (Capacity, now));
                tokens = Math.Min(Capacity, tokens + (now - at) * PerSecond / 1_000);
                var taken = tokens >= cost;
                var answer = buckets.Take((ulong)partition, cost, now);
                if (answer.Taken != taken) return false;
                if (taken) tokens -= cost;
                else if (answer.WaitMilliseconds < (cost - tokens) / PerSecond * 1_000) return false;
                if (answer.Left != tokens) return false;
                model[partition] = (tokens, now);
            }
            return true;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void After_the_told_wait_the_tokens_are_there_and_not_a_moment_before()
    {
        var buckets = new TokenBuckets(Capacity, PerSecond, null);
        for (var i = 0; i < Capacity; i++) Assert.True(buckets.Take(1, 1, 0).Taken);
        var (taken, _, wait) = buckets.Take(1, 1, 0);
        Assert.False(taken);
        Assert.Equal(256, wait);
        Assert.False(buckets.Take(1, 1, wait - 1).Taken);
        Assert.True(buckets.Take(1, 1, wait).Taken);
    }

    [Fact]
    public void What_is_given_back_can_be_taken_again_but_never_more_than_fits()
    {
        var buckets = new TokenBuckets(Capacity, PerSecond, null);
        buckets.Take(1, 4, 0);
        buckets.GiveBack(1, 4);
        buckets.GiveBack(1, 4);
        Assert.Equal((true, 0d), (buckets.Take(1, Capacity, 0).Taken, buckets.Take(1, 1, 0).Left));
        buckets.GiveBack(77, 1);
        Assert.Equal(1, buckets.Count);
    }

    [Fact]
    public void Whoever_does_not_stop_is_refused_everything_for_a_while()
    {
        var buckets = new TokenBuckets(1, PerSecond, new PenaltyBox(Rejections: 3, WithinSeconds: 10, BlockSeconds: 60));
        Assert.True(buckets.Take(1, 1, 0).Taken);
        Assert.Equal(256, buckets.Take(1, 1, 0).WaitMilliseconds);
        Assert.Equal(256, buckets.Take(1, 1, 0).WaitMilliseconds);
        Assert.Equal(60_000, buckets.Take(1, 1, 0).WaitMilliseconds);
        // The bucket is full again, but the block still lets nothing pass. It concerns only this partition.
        Assert.Equal((false, 30_000), (buckets.Take(1, 1, 30_000).Taken, buckets.Take(1, 1, 30_000).WaitMilliseconds));
        Assert.True(buckets.Take(2, 1, 30_000).Taken);
        Assert.True(buckets.Take(1, 1, 60_000).Taken);
    }

    [Fact]
    public void Refusals_that_lie_far_apart_are_no_reason_to_block()
    {
        var buckets = new TokenBuckets(1, 0.001, new PenaltyBox(Rejections: 2, WithinSeconds: 1, BlockSeconds: 60));
        buckets.Take(1, 1, 0);
        for (var now = 0; now < 20_000; now += 2_000) Assert.NotEqual(60_000, buckets.Take(1, 1, now).WaitMilliseconds);
    }

    [Fact]
    public void A_million_addresses_cost_less_than_400_bytes_each_and_are_forgotten_when_idle()
    {
        const int Addresses = 1_000_000;
        // This counts all memory allocated on the way, so it is more than the memory that is kept. Other tests allocate
        // on their own threads.
        var before = GC.GetAllocatedBytesForCurrentThread();
        var buckets = new TokenBuckets(Capacity, PerSecond, new PenaltyBox(5, 10, 60));
        for (var i = 0UL; i < Addresses; i++) buckets.Take(i, 1, (long)i / 10_000);
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / Addresses, 1, 400);
        Assert.Equal(Addresses, buckets.Count);
        buckets.Forget(10_000);
        Assert.Equal(0, buckets.Count);
    }

    [Fact]
    public async Task A_bucket_that_many_draw_from_at_once_gives_exactly_what_it_has()
    {
        var buckets = new TokenBuckets(1_000, 0.001, null);
        var taken = 0;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            for (var i = 0; i < 1_000; i++)
            {
                if (buckets.Take(7, 1, 0).Taken) Interlocked.Increment(ref taken);
            }
        })));
        Assert.Equal(1_000, taken);
    }
}
