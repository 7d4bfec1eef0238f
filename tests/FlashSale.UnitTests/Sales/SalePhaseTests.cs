using FlashSale.Sales;

namespace FlashSale.UnitTests.Sales;

public sealed class SalePhaseTests
{
    [Theory]
    [InlineData(SaleStatus.Live, 99, SalePhase.Scheduled)]
    [InlineData(SaleStatus.Live, 100, SalePhase.Open)]
    [InlineData(SaleStatus.Live, 199, SalePhase.Open)]
    [InlineData(SaleStatus.Live, 200, SalePhase.Closed)]
    [InlineData(SaleStatus.Paused, 99, SalePhase.Paused)]
    [InlineData(SaleStatus.Paused, 150, SalePhase.Paused)]
    [InlineData(SaleStatus.Paused, 200, SalePhase.Closed)]
    [InlineData(SaleStatus.Closed, 150, SalePhase.Closed)]
    [InlineData(SaleStatus.Archived, 150, SalePhase.Closed)]
    public void A_phase_follows_from_status_window_and_time(SaleStatus status, long now, SalePhase phase) =>
        Assert.Equal(phase, SalePhases.At(status, opensAt: 100, closesAt: 200, now));

    [Theory]
    [InlineData(SaleStatus.Live, 99, 100L)]
    [InlineData(SaleStatus.Live, 100, 200L)]
    [InlineData(SaleStatus.Paused, 99, 200L)]
    [InlineData(SaleStatus.Live, 200, null)]
    [InlineData(SaleStatus.Closed, 150, null)]
    public void A_phase_ends_at_the_opening_or_at_the_end(SaleStatus status, long now, long? end) =>
        Assert.Equal(end, new PublishedSale("s", 1, 1, 1, "S", status, 100, 200, null, 900, false, null, false, []).PhaseEndsAt(now));

    [Theory]
    [InlineData(0, 4_096)]
    [InlineData(1_000, 4_096)]
    [InlineData(1_000_000, 50_000)]
    [InlineData(int.MaxValue, 1 << 20)]
    public void A_bucket_of_facts_holds_about_twenty_orders_and_a_small_sale_has_room_to_grow(long units, int buckets) => Assert.Equal(buckets, SaleKeys.BucketsFor(units));
}
