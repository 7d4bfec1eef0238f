using FlashSale.Sales;

namespace FlashSale.UnitTests.Sales;

public sealed class SaleTransitionsTests
{
    private const long Opens = 1_000;
    private const long Closes = 2_000;

    [Theory]
    [InlineData(SaleStatus.Draft, 1_500, "draft", "")]
    [InlineData(SaleStatus.Live, 999, "scheduled", "Open Pause Close")]
    [InlineData(SaleStatus.Live, 1_000, "open", "Pause Close")]
    [InlineData(SaleStatus.Live, 1_999, "open", "Pause Close")]
    [InlineData(SaleStatus.Live, 2_000, "closed", "Close")]
    [InlineData(SaleStatus.Paused, 999, "paused", "Resume Close")]
    [InlineData(SaleStatus.Paused, 1_500, "paused", "Resume Close")]
    [InlineData(SaleStatus.Paused, 2_000, "closed", "Close")]
    [InlineData(SaleStatus.Closed, 1_500, "closed", "")]
    [InlineData(SaleStatus.Archived, 1_500, "archived", "")]
    public void What_a_sale_takes_follows_from_where_it_stands(SaleStatus status, long now, string phase, string allowed)
    {
        Assert.Equal(phase, SaleTransitions.PhaseText(status, Opens, Closes, now));
        Assert.Equal(allowed, string.Join(' ', Enum.GetValues<SaleAction>().Where(action => SaleTransitions.IsAllowed(action, status, phase))));
    }
}
