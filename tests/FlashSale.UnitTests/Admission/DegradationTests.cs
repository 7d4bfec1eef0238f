using System.Text;
using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.UnitTests.Admission;

/// <summary>Tests the conditions that decide the level, and the features that a level turns off.</summary>
public sealed class DegradationTests
{
    [Theory]
    [InlineData(0, Features.None)]
    [InlineData(1, Features.SaleLists | Features.OrderHistory | Features.LiveFigures)]
    [InlineData(2, Features.SaleLists | Features.OrderHistory | Features.LiveFigures | Features.FreshSalePages | Features.FastPolling)]
    [InlineData(3, Features.SaleLists | Features.OrderHistory | Features.LiveFigures | Features.FreshSalePages | Features.FastPolling | Features.TicketsWithoutChallenge)]
    [InlineData(4, (Features)127)]
    [InlineData(5, (Features)255)]
    public void Each_level_turns_off_what_is_documented(int level, Features off)
    {
        var degradation = New();
        degradation.Follow(Document($"\"level\":{level}"));
        Assert.Equal((level, off), (degradation.State.Level, degradation.State.Off));
    }

    [Fact]
    public void A_switch_wins_over_the_level_both_ways()
    {
        var degradation = New();
        degradation.Follow(Document("\"level\":1,\"switches\":{\"saleLists\":true,\"purchases\":false,\"orderHistory\":null}"));
        Assert.Equal(Features.OrderHistory | Features.LiveFigures | Features.Purchases, degradation.State.Off);
    }

    [Fact]
    public void What_has_ended_is_no_longer_in_force()
    {
        var now = new DateTimeOffset(2026, 11, 11, 12, 0, 0, TimeSpan.Zero);
        var degradation = new Degradation(new DegradationOptions(), () => now.ToUnixTimeMilliseconds());
        degradation.Follow(Document("\"level\":4,\"until\":\"2026-11-11T12:00:10Z\",\"switches\":{\"purchases\":false}"));
        Assert.Equal(4, degradation.State.Level);
        now = now.AddSeconds(10);
        degradation.Press(0, "");
        Assert.Equal((0, Features.None), (degradation.State.Level, degradation.State.Off));
    }

    [Fact]
    public void Pressure_cannot_lift_a_pin()
    {
        var degradation = new Degradation(Impatient(), Now);
        degradation.Follow(Document("\"level\":0"));
        for (var i = 0; i < 5; i++) degradation.Press(2, "memory");
        Assert.Equal(0, degradation.State.Level);
        Assert.Contains("a test", degradation.State.Cause, StringComparison.Ordinal);
    }

    [Fact]
    public void The_level_rises_by_steps_under_pressure_stays_between_and_falls_when_it_is_quiet()
    {
        var degradation = new Degradation(Impatient(), Now);
        degradation.Follow(Document("\"level\":null,\"floor\":0,\"ceiling\":2"));
        degradation.Press(1.5, "outbox age");
        Assert.Equal(1, degradation.State.Level);
        Assert.Equal("pressure: outbox age", degradation.State.Cause);
        degradation.Press(1.5, "outbox age");
        degradation.Press(1.5, "outbox age");
        Assert.Equal(2, degradation.State.Level);
        degradation.Press(0.7, "outbox age");
        Assert.Equal(2, degradation.State.Level);
        degradation.Press(0.4, "outbox age");
        Assert.Equal(1, degradation.State.Level);
        degradation.Press(0.4, "outbox age");
        degradation.Press(0.4, "outbox age");
        Assert.Equal((0, "nothing presses"), (degradation.State.Level, degradation.State.Cause));
    }

    [Fact]
    public void The_floor_holds_without_any_pressure()
    {
        var degradation = New();
        degradation.Follow(Document("\"level\":null,\"floor\":1,\"ceiling\":3"));
        Assert.Equal(1, degradation.State.Level);
    }

    [Fact]
    public void Always_the_same_share_of_users_may_buy()
    {
        var degradation = new Degradation(new DegradationOptions { SharePercent = 25 }, Now);
        var users = Enumerable.Range(0, 20_000).Select(i => FlashSale.Contracts.Fingerprints.OfUser($"user-{i}")).ToList();
        Assert.InRange(users.Count(degradation.IsOfTheShare), 4_700, 5_300);
        Assert.Equal(users.Where(degradation.IsOfTheShare), users.Where(new Degradation(new DegradationOptions { SharePercent = 25 }, Now).IsOfTheShare));
    }

    [Theory]
    [InlineData("\"level\":6", "level must be an integer from 0 to 5")]
    [InlineData("\"level\":1,\"floor\":3,\"ceiling\":2", "floor must not be above the ceiling")]
    [InlineData("\"level\":1,\"until\":\"tomorrow\"", "until must be a time")]
    [InlineData("\"level\":1,\"until\":\"2026-11-11T12:00:00\"", "until must be a time")]
    [InlineData("\"switches\":{\"lists\":false}", "switches.lists is not known; known are saleLists")]
    [InlineData("\"switches\":{\"purchases\":\"off\"}", "switches.purchases must be true or false")]
    public void What_is_wrong_with_a_document_is_told(string members, string message)
    {
        var errors = new List<ProblemError>();
        SwitchDocument.Parse(Encoding.UTF8.GetBytes($"{{\"reason\":\"a test\",{members}}}"), errors);
        Assert.Contains(errors, error => error.Message.Contains(message, StringComparison.Ordinal));
    }

    private static Degradation New() => new(new DegradationOptions(), Now);

    // Each look is a step, because these tests check the order of things.
    private static DegradationOptions Impatient() => new() { RiseMilliseconds = 0, FallMilliseconds = 0 };

    private static SwitchDocument Document(string members)
    {
        var errors = new List<ProblemError>();
        var document = SwitchDocument.Parse(Encoding.UTF8.GetBytes($"{{\"reason\":\"a test\",{members}}}"), errors);
        Assert.Empty(errors);
        return document;
    }

    private static long Now() => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
}
