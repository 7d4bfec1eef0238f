using System.Diagnostics;
using FlashSale.Admission;

namespace FlashSale.UnitTests.Admission;

/// <summary>
/// Tests the limit with a simulated service. The service answers a certain number of requests at once in good time, and
/// further requests wait for one another.
/// </summary>
public sealed class ConcurrencyLimitTests
{
    private const double UnloadedMilliseconds = 5;

    [Fact]
    public void No_more_than_the_limit_are_let_in_and_who_left_makes_room()
    {
        var limit = new ConcurrencyLimit(2, 4, 8, 2);
        Assert.Equal([true, true, true, true, false], Enumerable.Range(0, 5).Select(_ => limit.TryEnter()));
        limit.Leave(Stopwatch.GetTimestamp());
        Assert.Equal([true, false], [limit.TryEnter(), limit.TryEnter()]);
        Assert.Equal(4, limit.InFlight);
    }

    [Fact]
    public void Who_is_turned_away_at_once_does_not_count_as_quick()
    {
        var limit = new ConcurrencyLimit(10, 40, 100, 2);
        var now = Stopwatch.GetTimestamp();
        // For two seconds every request is turned away. After that each one takes its time without load.
        for (var i = 0; i < 2_000 && limit.TryEnter(); i++, now += Stopwatch.Frequency / 1_000) limit.LeaveUnmeasured();
        Assert.Equal(0, limit.InFlight);
        for (var i = 0; i < 2_000 && limit.TryEnter(); i++, now += Stopwatch.Frequency / 1_000) limit.Leave(now - (long)(UnloadedMilliseconds / 1e3 * Stopwatch.Frequency), now);
        Assert.True(limit.Current >= 40, $"the limit is {limit.Current}");
    }

    [Fact]
    public void What_comes_after_more_important_things_gets_a_share()
    {
        var limit = new ConcurrencyLimit(10, 10, 10, 2);
        Assert.Equal(5, Enumerable.Range(0, 10).Count(_ => limit.HasRoom(share: 0.5) && limit.TryEnter()));
        Assert.True(limit.TryEnter());
    }

    [Fact]
    public void Under_a_load_that_stays_the_limit_comes_down_to_where_latency_is_good_and_goes_up_again_with_room()
    {
        var service = new Service(capacity: 100);
        service.Run(windows: 5, offered: 10);
        Assert.Equal(1_000, service.Limit.Current);
        service.Run(windows: 100, offered: 5_000);
        // The limit settles where the latency is three times that without load. It lies a little above, because it
        // probes for more.
        Assert.InRange(service.Limit.Current, 150, 450);
        service.Capacity = 1_000;
        service.Run(windows: 200, offered: 5_000);
        Assert.InRange(service.Limit.Current, 1_000, 4_000);
        service.Run(windows: 20, offered: 10);
        Assert.InRange(service.Limit.Current, 1_000, 4_000);
    }

    [Fact]
    public void However_bad_it_gets_the_least_are_let_in()
    {
        var service = new Service(capacity: 1);
        service.Run(windows: 5, offered: 1);
        service.Run(windows: 200, offered: 5_000);
        Assert.Equal(50, service.Limit.Current);
    }

    [Fact]
    public async Task Many_threads_never_lose_count()
    {
        var limit = new ConcurrencyLimit(10, 10, 10, 2);
        var most = 0;
        await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => Task.Run(() =>
        {
            for (var i = 0; i < 20_000; i++)
            {
                if (!limit.TryEnter()) continue;
                var seen = limit.InFlight;
                if (seen > Volatile.Read(ref most)) Volatile.Write(ref most, seen);
                limit.Leave(Stopwatch.GetTimestamp());
            }
        })));
        Assert.Equal(0, limit.InFlight);
        Assert.True(limit.TryEnter());
    }

    // The service answers as many requests at once as its capacity, in the time of one. Further requests wait for one
    // another, as in a queue.
    private sealed class Service(double capacity)
    {
        private static readonly long Window = Stopwatch.Frequency / 10;

        private long _now = Stopwatch.GetTimestamp();

        public double Capacity { get; set; } = capacity;

        public ConcurrencyLimit Limit { get; } = new(50, 1_000, 4_000, 3);

        public void Run(int windows, int offered)
        {
            for (var window = 0; window < windows; window++)
            {
                _now += Window + 1;
                var inside = 0;
                while (inside < offered && Limit.TryEnter()) inside++;
                var milliseconds = UnloadedMilliseconds * Math.Max(1, inside / Capacity);
                var startedAt = _now - (long)(milliseconds * Stopwatch.Frequency / 1_000);
                for (var i = 0; i < inside; i++) Limit.Leave(startedAt, _now);
                // The limit judges a window only when it has seen enough requests in it.
                for (var i = inside; i < 10; i++)
                {
                    Limit.TryEnter();
                    Limit.Leave(startedAt, _now);
                }
            }
        }
    }
}
