using FlashSale.Worker.Keeper;

namespace FlashSale.UnitTests.Events;

/// <summary>
/// A worker ends only for a problem that it sees several times in a row. One look that met a hanging node must not
/// erase the earlier ones.
/// </summary>
public sealed class StreakTests
{
    private const int Length = 3;

    private static readonly TimeSpan Gap = TimeSpan.FromSeconds(60);

    private readonly Streak _streak = new(Length, Gap);
    private long _now = 1_000_000;

    [Fact]
    public void As_many_yes_as_it_is_long_complete_it()
    {
        Add(BrokerAnswer.Yes, BrokerAnswer.Yes);
        Assert.False(_streak.IsComplete);
        Add(BrokerAnswer.Yes);
        Assert.True(_streak.IsComplete);
    }

    [Fact]
    public void A_no_begins_anew()
    {
        Add(BrokerAnswer.Yes, BrokerAnswer.Yes, BrokerAnswer.No, BrokerAnswer.Yes, BrokerAnswer.Yes);
        Assert.False(_streak.IsComplete);
    }

    [Fact]
    public void Unknown_neither_counts_nor_begins_anew()
    {
        Add(BrokerAnswer.Unknown, BrokerAnswer.Unknown, BrokerAnswer.Unknown);
        Assert.False(_streak.IsComplete);
        Add(BrokerAnswer.Yes, BrokerAnswer.Unknown, BrokerAnswer.Yes, BrokerAnswer.Unknown, BrokerAnswer.Unknown, BrokerAnswer.Yes);
        Assert.True(_streak.IsComplete);
    }

    [Fact]
    public void A_yes_from_long_ago_belongs_to_another_outage()
    {
        Add(BrokerAnswer.Yes, BrokerAnswer.Yes);
        _now += (long)Gap.TotalMilliseconds + 1;
        Add(BrokerAnswer.Yes);
        Assert.False(_streak.IsComplete);
    }

    private void Add(params BrokerAnswer[] answers)
    {
        foreach (var answer in answers) _streak.Add(answer, _now += 10_000);
    }
}
