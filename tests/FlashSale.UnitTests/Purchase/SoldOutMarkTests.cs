using System.Text.RegularExpressions;
using FlashSale.Api.Purchase;
using FlashSale.Platform;

namespace FlashSale.UnitTests.Purchase;

public sealed class SoldOutMarkTests
{
    [Fact]
    public void Units_that_come_back_rest_for_longer_than_any_node_may_call_the_item_sold_out()
    {
        var script = Resources.Read("Stock.reserve.lua");
        var rest = int.Parse(Regex.Match(script, @"local REST = (\d+)", RegexOptions.None, TimeSpan.FromSeconds(1)).Groups[1].ValueSpan);
        // Clocks of two machines drift apart by far less than a hundredth within half a second.
        Assert.InRange(rest, 1.01 * (SoldOutMark.LifeMilliseconds + SoldOutMark.ProbeMilliseconds), 1_000);
    }
}
