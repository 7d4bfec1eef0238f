using FlashSale.Contracts;
using FlashSale.Orders;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Orders;

/// <summary>
/// Tests shared looks. There is never more than one look a second for a missing order, and no caller gets an answer
/// from before its question.
/// </summary>
public sealed class SharedLooksTests
{
    private readonly FakeTimeProvider _clock = new(TimeProvider.System.GetUtcNow());
    private readonly List<TaskCompletionSource<Order?>> _looks = [];
    private readonly List<DateTimeOffset> _startedAt = [];
    private readonly SharedLooks _shared;

    public SharedLooksTests() => _shared = new SharedLooks(
        _ =>
        {
            lock (_looks)
            {
                _startedAt.Add(_clock.GetUtcNow());
                _looks.Add(new TaskCompletionSource<Order?>(TaskCreationOptions.RunContinuationsAsynchronously));
                return _looks[^1].Task;
            }
        },
        _clock);

    [Fact]
    public async Task Who_asks_while_a_look_is_under_way_gets_the_next_one()
    {
        var id = Fresh();
        var first = _shared.FindAsync(id, notInFlight: true);
        // The order leaves Redis for Postgres now: after the first look began, and before these callers ask.
        var others = Enumerable.Range(0, 10).Select(_ => _shared.FindAsync(id, notInFlight: true)).ToList();
        var order = OrderOf(id);
        Look(0).SetResult(null);
        Assert.Null(await first);
        (await RestedLookAsync(1)).SetResult(order);
        Assert.All(await Task.WhenAll(others), found => Assert.Same(order, found));
        Assert.Equal(2, _looks.Count);
        Assert.True(_startedAt[1] - _startedAt[0] >= TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task After_an_order_was_found_the_next_look_does_not_wait()
    {
        var id = Fresh();
        var first = _shared.FindAsync(id, notInFlight: true);
        var second = _shared.FindAsync(id, notInFlight: true);
        Look(0).SetResult(OrderOf(id));
        await first;
        (await LookAsync(1)).SetResult(OrderOf(id));
        await second;
        await UntilAsync(() => _shared.Remembered == 0);
    }

    [Fact]
    public async Task An_order_that_may_still_be_accepted_is_never_denied_from_memory()
    {
        var id = Fresh();
        await MissAsync(id, notInFlight: true);
        var again = _shared.FindAsync(id, notInFlight: true);
        Assert.False(again.IsCompleted);
        (await RestedLookAsync(1)).SetResult(OrderOf(id));
        Assert.NotNull(await again);
    }

    [Fact]
    public async Task An_order_of_long_ago_that_was_in_neither_store_is_denied_from_memory_for_a_second()
    {
        var id = Old();
        await MissAsync(id, notInFlight: true);
        for (var i = 0; i < 100; i++) Assert.Null(await _shared.FindAsync(id, notInFlight: true));
        Assert.Single(_looks);
        _clock.Advance(TimeSpan.FromSeconds(1));
        var again = _shared.FindAsync(id, notInFlight: true);
        (await LookAsync(1)).SetResult(null);
        Assert.Null(await again);
    }

    [Fact]
    public async Task An_order_of_long_ago_is_not_denied_from_memory_when_redis_was_not_there_to_ask()
    {
        var id = Old();
        await MissAsync(id, notInFlight: false);
        var again = _shared.FindAsync(id, notInFlight: true);
        Assert.False(again.IsCompleted);
        (await RestedLookAsync(1)).SetResult(OrderOf(id));
        Assert.NotNull(await again);
    }

    [Fact]
    public async Task A_look_that_fails_is_told_to_all_who_waited_and_is_not_remembered()
    {
        var id = Fresh();
        var first = _shared.FindAsync(id, notInFlight: true);
        Look(0).SetException(new TimeoutException());
        await Assert.ThrowsAsync<TimeoutException>(() => first);
        await UntilAsync(() => _shared.Remembered == 0);
        var again = _shared.FindAsync(id, notInFlight: true);
        Look(1).SetResult(OrderOf(id));
        Assert.NotNull(await again);
    }

    [Fact]
    public async Task Misses_are_remembered_in_bounded_memory()
    {
        var shared = new SharedLooks(_ => Task.FromResult<Order?>(null), _clock);
        for (var i = 0; i < 50_000; i++) await shared.FindAsync(Fresh(), notInFlight: true);
        Assert.InRange(shared.Remembered, 1, 10_001);
    }

    private static Guid Fresh() => OrderId.New(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), 1, 1);

    private static Guid Old() => OrderId.New(TimeProvider.System.GetUtcNow().AddHours(-1).ToUnixTimeMilliseconds(), 1, 1);

    private static Order OrderOf(Guid id) => new(id, "s1", "sku", "user", 1, 1, "CNY", OrderStatus.PendingPayment, null, default, null, null, null, null);

    private async Task MissAsync(Guid id, bool notInFlight)
    {
        var first = _shared.FindAsync(id, notInFlight);
        Look(0).SetResult(null);
        Assert.Null(await first);
    }

    private TaskCompletionSource<Order?> Look(int number)
    {
        lock (_looks) return _looks[number];
    }

    // Returns a look that waits only for its thread.
    private async Task<TaskCompletionSource<Order?>> LookAsync(int number)
    {
        await UntilAsync(() => _looks.Count > number);
        return Look(number);
    }

    // Returns a look that waits for the clock as well.
    private async Task<TaskCompletionSource<Order?>> RestedLookAsync(int number)
    {
        await UntilAsync(() =>
        {
            _clock.Advance(TimeSpan.FromMilliseconds(100));
            return _looks.Count > number;
        });
        return Look(number);
    }

    private Task UntilAsync(Func<bool> condition) => Eventually.TrueAsync(TimeSpan.FromSeconds(20), () =>
    {
        lock (_looks) return condition();
    });
}
