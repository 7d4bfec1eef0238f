using FlashSale.LoadTests.Scenarios;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>Tests the course of a run, by which overload and recovery are judged.</summary>
public sealed class CourseTests
{
    private static readonly DateTimeOffset Start = DateTimeOffset.UnixEpoch.AddDays(20_000);

    [Fact]
    public void A_stretch_is_made_of_its_whole_seconds()
    {
        var course = Course.Of([.. Second(0, accepted: 10, refused: 1, tookMs: 5), .. Second(1, 20, 0, 7), .. Second(2, 30, 4, 9), .. Second(-1, 99, 9, 1)], Start);
        Assert.Equal(new Course.Stretch(25, 2, 9, 9), course.Between(0.5, 3));
        Assert.Equal(new Course.Stretch(10, 1, 5, 5), course.Between(0, 1.9));
        Assert.Equal(new Course.Stretch(0, 0, 0, 0), course.Between(5, 9));
    }

    [Theory]
    [InlineData(4, 2, 2)]
    [InlineData(3, 2, 1)]
    [InlineData(3.9, 1, 2)]
    [InlineData(5, 1, 4)]
    [InlineData(2, 3, 0)] // no such stretch
    public void The_best_is_that_of_any_stretch_until_then(double until, int seconds, int from)
    {
        var course = Course.Of([.. Second(0, 10, 0, 5), .. Second(1, 20, 0, 5), .. Second(2, 30, 99, 5), .. Second(3, 25, 0, 5), .. Second(4, 99, 0, 5)], Start);
        Assert.Equal(from, course.BestUntil(until, seconds));
    }

    [Theory]
    [InlineData(2, 0, 5, 0.0)] // at once
    [InlineData(5, 0, 5, 3.0)] // the last refusal in the fifth second
    [InlineData(2, 4, 50, 3.0)] // the last slow second is the fifth
    public void It_is_itself_again_from_when_nobody_is_refused_nor_waits(int refusedUntil, int slowFrom, int slowMs, double expected)
    {
        var course = Course.Of(Enumerable.Range(0, 10).SelectMany(second => Second(second, 10, second < refusedUntil ? 1 : 0, second == slowFrom ? slowMs : 5)), Start);
        Assert.Equal(expected, course.SecondsUntilItself(after: 2, until: 10, mostP50Ms: 20));
    }

    [Fact]
    public void It_is_not_itself_while_the_last_second_is_bad_or_nobody_is_served()
    {
        Assert.Null(Course.Of(Enumerable.Range(0, 10).SelectMany(second => Second(second, 10, second == 9 ? 1 : 0, 5)), Start).SecondsUntilItself(2, 10, 20));
        Assert.Null(Course.Of(Enumerable.Range(0, 10).SelectMany(second => Second(second, second == 9 ? 0 : 10, 1, 5)), Start).SecondsUntilItself(2, 10, 20));
    }

    private static IEnumerable<Told> Second(int second, int accepted, int refused, int tookMs)
    {
        var ended = Start.ToUnixTimeMilliseconds() * 1_000 + second * 1_000_000L + 500_000;
        for (var i = 0; i < accepted; i++) yield return new Told(ended - tookMs * 1_000L, ended, "u", "k", "s", 1, 202, "", Guid.Empty, false, 0);
        for (var i = 0; i < refused; i++) yield return new Told(ended, ended, "u", "k", "s", 1, 503, "overloaded", Guid.Empty, false, 0);
    }
}
