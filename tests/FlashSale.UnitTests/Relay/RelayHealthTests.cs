using FlashSale.Worker.Relay;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Relay;

/// <summary>Tests when a worker's publishes count as failing. The worker may be ended for that.</summary>
public sealed class RelayHealthTests
{
    private readonly FakeTimeProvider _clock = new();
    private readonly RelayHealth _health;

    public RelayHealthTests() => _health = new RelayHealth(_clock);

    [Fact]
    public void It_fails_from_a_failure_until_something_is_confirmed()
    {
        _health.Confirmed();
        Assert.False(_health.IsFailing);
        After(1, _health.Failed);
        Assert.True(_health.IsFailing);
        After(1, _health.Confirmed);
        Assert.False(_health.IsFailing);
    }

    [Fact]
    public void One_failure_is_forgotten_before_a_worker_is_ended_for_it()
    {
        _health.Confirmed();
        After(1, _health.Failed);
        After(29, () => Assert.True(_health.IsFailing));
        After(2, () => Assert.False(_health.IsFailing));
    }

    [Fact]
    public void Failures_that_go_on_stay()
    {
        _health.Confirmed();
        for (var i = 0; i < 10; i++)
        {
            After(20, _health.Failed);
            After(5, () => Assert.True(_health.IsFailing));
        }
    }

    [Fact]
    public void To_whom_nothing_was_ever_confirmed_another_process_would_be_no_help()
    {
        After(1, _health.Failed);
        Assert.False(_health.IsFailing);
    }

    private void After(int seconds, Action act)
    {
        _clock.Advance(TimeSpan.FromSeconds(seconds));
        act();
    }
}
