using FlashSale.Platform;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Platform;

/// <summary>Tests the estimate of Redis' clock between pings.</summary>
public sealed class RedisClockTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly RedisClock _clock;
    private readonly long _start;

    public RedisClockTests()
    {
        _clock = new RedisClock(_time);
        _start = _clock.NowMilliseconds;
    }

    [Fact]
    public void Until_redis_tells_its_time_it_is_this_machines()
    {
        Assert.False(_clock.HasSample);
        _time.Advance(TimeSpan.FromMilliseconds(250));
        Assert.Equal(_time.GetUtcNow().ToUnixTimeMilliseconds(), _clock.NowMilliseconds);
    }

    [Fact]
    public void The_sample_that_came_back_fastest_counts_for_as_long_as_it_is_one_of_the_last_eight()
    {
        // Redis is a second ahead. The answers take 20 ms on their way, and one only 5 ms.
        _clock.Observe(_start + 1_000 - 20);
        Assert.Equal(_start + 980, _clock.NowMilliseconds);
        _clock.Observe(_start + 1_000 - 5);
        for (var i = 0; i < 7; i++) _clock.Observe(_start + 1_000 - 20);
        Assert.Equal(_start + 995, _clock.NowMilliseconds);
        _clock.Observe(_start + 1_000 - 20);
        Assert.Equal(_start + 980, _clock.NowMilliseconds);
    }

    [Fact]
    public void Another_server_whose_clock_is_behind_is_believed_at_once()
    {
        for (var i = 0; i < 20; i++) _clock.Observe(_start + 60_000);
        _clock.ServerReplaced();
        _clock.Observe(_start - 60_000);
        Assert.Equal(_start - 60_000, _clock.NowMilliseconds);
        _clock.Observe(_start - 59_990);
        Assert.Equal(_start - 59_990, _clock.NowMilliseconds);
    }
}
