using FlashSale.Ledger;

namespace FlashSale.UnitTests.Ledger;

public sealed class PostgresLineageTests
{
    private const long Now = 1_000_000;
    private const long Keep = 120_000;

    private static readonly Guid Lineage = Guid.NewGuid();

    // Redis remembers beat 100 of timeline 2, counted 200 ms ago, and all that was settled in the last minutes.
    private static readonly SeenPostgres Seen = new("7000", 2, Lineage, Count: 100, Position: 5_000, SaleNumber: 9, At: Now - 200, KeptSince: Now - Keep);

    private static readonly PostgresBeat Next = new("7000", 2, Lineage, Count: 101, PreviousAt: Now - 200, Position: 5_100, SaleNumber: 9, Standbys: 1);

    [Fact]
    public void A_server_that_goes_on_is_the_same() => Assert.Equal(PostgresFinding.Same, Judge(Next));

    [Fact]
    public void The_first_server_that_is_seen_is_the_same() => Assert.Equal(PostgresFinding.Same, PostgresLineage.Judge(null, Next, Now, Keep));

    [Fact]
    public void A_beat_that_was_counted_before_is_of_a_restored_server() => Assert.Equal(PostgresFinding.Restored, Judge(Next with { Count = 100 }));

    [Fact]
    public void A_log_that_is_shorter_is_of_a_restored_server() => Assert.Equal(PostgresFinding.Restored, Judge(Next with { Position = 4_999 }));

    [Fact]
    public void Other_data_is_restored_however_far_it_has_come()
    {
        Assert.Equal(PostgresFinding.Restored, Judge(Next with { System = "7001", Count = 1_000, Timeline = 3 }));
        Assert.Equal(PostgresFinding.Restored, Judge(Next with { Lineage = Guid.NewGuid(), Count = 1_000, Timeline = 3 }));
    }

    [Fact]
    public void A_promoted_standby_that_lacks_no_beat_is_a_failover_whether_or_not_anything_is_kept()
    {
        Assert.Equal(PostgresFinding.Failover, Judge(Next with { Timeline = 3, Position = 4_000 }));
        Assert.Equal(PostgresFinding.Failover, PostgresLineage.Judge(Seen with { KeptSince = null }, Next with { Timeline = 3 }, Now, Keep));
    }

    [Fact]
    public void A_promoted_standby_that_lacks_beats_is_a_failover_as_long_as_what_it_lacks_is_kept()
    {
        var behind = Next with { Timeline = 3, Count = 90, PreviousAt = Now - 200 - Keep };
        Assert.Equal(PostgresFinding.Failover, PostgresLineage.Judge(Seen with { KeptSince = behind.PreviousAt }, behind, Now, Keep));
        // An outage is no reason to forget, because nothing was settled meanwhile.
        Assert.Equal(PostgresFinding.Failover, PostgresLineage.Judge(Seen with { KeptSince = behind.PreviousAt }, behind, Now + 3_600_000, Keep));
        Assert.Equal(PostgresFinding.Restored, PostgresLineage.Judge(Seen with { KeptSince = behind.PreviousAt + 1 }, behind, Now, Keep));
        Assert.Equal(PostgresFinding.Restored, PostgresLineage.Judge(Seen with { KeptSince = null }, behind, Now, Keep));
        Assert.Equal(PostgresFinding.Restored, Judge(behind with { PreviousAt = behind.PreviousAt - 1 }));
    }

    [Fact]
    public void A_server_of_an_earlier_timeline_was_left_behind_while_others_have_the_later_one_and_else_restored()
    {
        var earlier = Next with { Timeline = 1 };
        Assert.Equal(PostgresFinding.LeftBehind, Judge(earlier));
        Assert.Equal(PostgresFinding.Restored, PostgresLineage.Judge(Seen, earlier, Now + 10_000, Keep));
    }

    private static PostgresFinding Judge(PostgresBeat beat) => PostgresLineage.Judge(Seen, beat, Now, Keep);
}
