using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Sales;
using FlashSale.Stock;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>
/// Units that come back to a sold-out item are sold only when no node can still refuse by an older answer.
/// </summary>
public sealed class ReturnedUnitTests(ScriptFixture fixture) : IClassFixture<ScriptFixture>
{
    // A node refuses by itself for this long after a decision (SoldOutMark).
    private const int MarkMilliseconds = 500;

    [Theory]
    [InlineData("returned")]
    [InlineData("rejected")]
    [InlineData("added")]
    public async Task A_unit_is_not_sold_while_a_node_may_still_refuse_by_a_decision_that_saw_none(string way)
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [1], [9], 0);
        var first = new Wish(0, 0, 0, 1);
        var firstId = ScriptedSale.NewOrderId(first);
        Assert.Equal(ReserveCode.AcceptedLast, (await sale.BuyAsync([first], [firstId]))[0].Code);
        var refused = await BuyAsync(sale, user: 1);
        Assert.Equal(ReserveCode.SoldOut, refused.Code);

        if (way == "returned") await sale.ReturnAsync(firstId, sale.Epoch);
        if (way == "rejected") await sale.SettleAsync(firstId, Verdict.Rejected);
        if (way == "added") await new ChangeStockScript(fixture.Redis).ApplyAsync(sale.SaleId, ScriptedSale.Sku(0), key: "more", delta: 1, stock: 2, sale.Epoch);
        Assert.Equal(1, await sale.RemainingAsync(0));

        var later = new List<ReserveDecision>();
        await Eventually.TrueAsync("the unit is sold", TimeSpan.FromSeconds(10), async () =>
        {
            later.Add(await BuyAsync(sale, user: 2));
            return later[^1].Code is ReserveCode.AcceptedLast;
        });
        Assert.InRange(later[^1].AcceptedAt - refused.AcceptedAt, MarkMilliseconds + 1, long.MaxValue);
        Assert.All(later[..^1], decision => Assert.Equal((ReserveCode.Resting, true), (decision.Code, decision.RestsFor is > 0 and <= 1_000)));
    }

    [Fact]
    public async Task Units_that_come_back_to_an_item_which_has_some_are_sold_at_once()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [2], [9], 0);
        var first = new Wish(0, 0, 0, 1);
        var firstId = ScriptedSale.NewOrderId(first);
        await sale.BuyAsync([first], [firstId]);
        await sale.ReturnAsync(firstId, sale.Epoch);
        Assert.Equal(ReserveCode.Accepted, (await BuyAsync(sale, user: 1)).Code);
    }

    [Fact]
    public async Task A_clock_that_was_set_back_keeps_no_unit_from_being_sold()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [1], [9], 0);
        foreach (var (key, field) in ((RedisKey, string)[])[(sale.Keys.Sale, "back"), (sale.Keys.Prefix + "back", ScriptedSale.Sku(0))])
            await fixture.Redis.CallAsync(database => database.HashSetAsync(key, field, fixture.Redis.NowMilliseconds + 3_600_000));
        Assert.Equal(ReserveCode.AcceptedLast, (await BuyAsync(sale, user: 0)).Code);
    }

    [Fact]
    public async Task A_log_of_buyers_that_may_grow_no_longer_stops_neither_selling_nor_settling()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [9], [9], 0);
        var log = sale.Keys.Buyers(sale.Epoch);
        await fixture.Server.Client.CallAsync("SETRANGE", log.ToString(), SaleKeys.MaxBuyersBytes - 1, "x");
        try
        {
            // Redis was silent while it made room, so the connection may have been replaced.
            await Eventually.TrueAsync("Redis answers", TimeSpan.FromSeconds(60), () => fixture.Redis.IsHealthy);
            Wish[] wishes = [new(0, 0, 0, 1), new(1, 0, 0, 1)];
            Guid[] ids = [.. wishes.Select(ScriptedSale.NewOrderId)];
            Assert.All(await sale.BuyAsync(wishes, ids), decision => Assert.Equal(ReserveCode.Accepted, decision.Code));
            await sale.ForgetOrderAsync(ids[1]);
            Assert.Equal(1, await sale.SettleAsync([], ids.Select(id => (id, Verdict.Live))));
            Assert.Equal(7, await sale.RemainingAsync(0));
            Assert.Equal(SaleKeys.MaxBuyersBytes, await fixture.Redis.CallAsync(database => database.StringLengthAsync(log)));
        }
        finally
        {
            await fixture.Redis.UnlinkAsync([log]);
        }
    }

    private static async Task<ReserveDecision> BuyAsync(ScriptedSale sale, int user)
    {
        var wish = new Wish(user, 0, 0, 1);
        return (await sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]))[0];
    }
}
