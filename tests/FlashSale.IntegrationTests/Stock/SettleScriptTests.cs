using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>
/// settle.lua settles orders that were settled before, that Redis has forgotten and that Postgres refused.
/// </summary>
public sealed class SettleScriptTests(ScriptFixture fixture) : IClassFixture<ScriptFixture>
{
    [Fact]
    public async Task Orders_that_Redis_had_forgotten_are_debited_once_however_often_they_are_settled()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [5], [9], 0);
        var wish = new Wish(0, 0, 0, 2);
        var id = ScriptedSale.NewOrderId(wish);
        await sale.BuyAsync([wish], [id]);
        // Redis has lost its memory. The sale is loaded with all of its stock, and the order comes from the broker.
        await fixture.Redis.CallAsync(database => database.KeyDeleteAsync([sale.Keys.Inflight, sale.Keys.InflightUnits, sale.Keys.Outbox,
            .. Enumerable.Range(0, 3).Select(bucket => sale.Keys.Facts(1, bucket))]));
        await fixture.Redis.CallAsync(database => database.HashSetAsync(sale.Keys.Stock, ScriptedSale.Sku(0), 5));

        Assert.Equal(1, await sale.SettleAsync(id, Verdict.Live));
        Assert.Equal(0, await sale.SettleAsync(id, Verdict.Live));

        Assert.Equal(3, await sale.RemainingAsync(0));
        Assert.Equal(2, await sale.UnitsOfAsync(0, 0));
        var again = await sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]);
        Assert.Equal((ReserveCode.Replay, id), (again[0].Code, again[0].OrderId));
    }

    [Fact]
    public async Task A_pack_in_which_orders_were_settled_before_forgotten_and_rejected_settles_each_once_however_often_it_comes()
    {
        const int Orders = 1_200;
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [2 * Orders], [9], 9);
        var wishes = Enumerable.Range(0, Orders).Select(user => new Wish(user, 0, 0, 1 + user % 2)).ToArray();
        var ids = wishes.Select(ScriptedSale.NewOrderId).ToArray();
        for (var first = 0; first < Orders; first += 60) await sale.BuyAsync(wishes[first..(first + 60)], ids[first..(first + 60)]);
        var remaining = await sale.RemainingAsync(0);
        var entries = await sale.OutboxEntriesAsync();
        // Every seventh order was settled before. Redis knows every fifth only from the outbox, and its units are for
        // sale again. Postgres refuses every eleventh.
        var (settled, forgotten, rejected) = (Every(7), Every(5), Every(11));
        await sale.SettleAsync([], settled.Select(order => (ids[order], Verdict.Live)));
        foreach (var order in forgotten) await sale.ForgetOrderAsync(ids[order]);
        var pack = Enumerable.Range(0, Orders).Select(order => (ids[order], rejected.Contains(order) ? Verdict.Rejected : Verdict.Live)).ToArray();

        Assert.Equal(forgotten.Count, await sale.SettleAsync(entries, pack));
        for (var again = 0; again < 2; again++)
        {
            var back = rejected.Where(order => !settled.Contains(order)).Sum(order => wishes[order].Quantity);
            Assert.Equal(remaining + back, await sale.RemainingAsync(0));
            Assert.Equal((0, 0), (await sale.InFlightUnitsAsync(0), (await sale.InFlightAsync()).Count));
            Assert.Empty(await sale.OutboxAsync());
            foreach (var order in Enumerable.Range(0, Orders))
            {
                var held = rejected.Contains(order) && !settled.Contains(order) ? 0 : wishes[order].Quantity;
                Assert.Equal((held, held), (await sale.UnitsOfAsync(order, 0), await sale.UnitsOfAsync(order, null)));
            }
            Assert.Equal(0, await sale.SettleAsync(entries, pack));
        }

        // No order is in two of these sets, so each case stays apart from the others.
        static HashSet<int> Every(int n) => [.. Enumerable.Range(0, Orders).Where(order => order % n == 0 && new[] { 5, 7, 11 }.All(other => other == n || order % other != 0))];
    }

    [Fact]
    public async Task Entries_stay_while_an_order_of_theirs_is_not_settled()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [5], [9], 0);
        Wish[] wishes = [new(0, 0, 0, 1), new(1, 0, 0, 1)];
        Guid[] ids = [.. wishes.Select(ScriptedSale.NewOrderId)];
        await sale.BuyAsync(wishes, ids);
        await sale.ForgetOrderAsync(ids[1]);
        // The test makes the first call of two, as if the process died between them.
        var answer = await sale.SettleShortAsync(ids);
        Assert.Equal([0, 2], answer);
        Assert.Equal(2, (await sale.OutboxAsync()).Count);
        Assert.Equal(1, await sale.SettleAsync(await sale.OutboxEntriesAsync(), ids.Select(id => (id, Verdict.Live))));
        Assert.Empty(await sale.OutboxAsync());
        Assert.Equal(3, await sale.RemainingAsync(0));
    }

    [Fact]
    public async Task A_forgotten_order_never_takes_the_stock_below_zero()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [5], [9], 0);
        var wish = new Wish(0, 0, 0, 3);
        var id = ScriptedSale.NewOrderId(wish);
        await sale.BuyAsync([wish], [id]);
        await fixture.Redis.CallAsync(database => database.KeyDeleteAsync([sale.Keys.Inflight, .. Enumerable.Range(0, 3).Select(bucket => sale.Keys.Facts(1, bucket))]));
        await fixture.Redis.CallAsync(database => database.HashSetAsync(sale.Keys.Stock, ScriptedSale.Sku(0), 1));
        await sale.SettleAsync(id, Verdict.Live);
        Assert.Equal(0, await sale.RemainingAsync(0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_a_forgotten_order_could_not_take_is_taken_from_what_comes_back(bool forgottenFirst)
    {
        // The sale has ten units. User 0's order is stored and forgotten by Redis, which sells all ten again, one to
        // user 0.
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [10], [9], 0);
        var forgotten = new Wish(0, 0, 0, 1);
        var forgottenId = ScriptedSale.NewOrderId(forgotten);
        await sale.BuyAsync([forgotten], [forgottenId]);
        await sale.ForgetAsync(stock: 10);
        var again = Enumerable.Range(0, 10).Select(user => new Wish(user, 0, 0, 1)).ToList();
        var ids = again.Select(ScriptedSale.NewOrderId).ToList();
        await sale.BuyAsync(again, ids);
        Assert.Equal(0, await sale.RemainingAsync(0));

        // In Postgres the forgotten order is live, user 0's other order is its duplicate, and the nine others are live.
        if (forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);
        await sale.SettleAsync(ids[0], Verdict.Rejected);
        if (!forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);
        foreach (var id in ids.Skip(1)) await sale.SettleAsync(id, Verdict.Live);

        Assert.Equal(0, await sale.RemainingAsync(0));
        Assert.Equal(0, await sale.OwedAsync(0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_rejection_for_stock_pays_for_the_forgotten_order_whichever_is_settled_first(bool forgottenFirst)
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [1], [9], 0);
        var forgotten = new Wish(0, 0, 0, 1);
        var forgottenId = ScriptedSale.NewOrderId(forgotten);
        await sale.BuyAsync([forgotten], [forgottenId]);
        await sale.ForgetAsync(stock: 1);
        var late = new Wish(1, 0, 0, 1);
        var lateId = ScriptedSale.NewOrderId(late);
        await sale.BuyAsync([late], [lateId]);

        if (forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);
        await sale.SettleAsync(lateId, Verdict.RejectedForStock);
        if (!forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);

        Assert.Equal((0, 0), (await sale.RemainingAsync(0), await sale.OwedAsync(0)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Of_several_units_that_are_refused_for_stock_only_those_stay_taken_that_the_forgotten_order_holds(bool forgottenFirst)
    {
        // Of ten units seven are sold and settled. Redis forgets an order of one unit and sells three.
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [3], [9], 0);
        var (forgottenId, lateId) = await ForgetOneAndSellThreeAsync(sale);

        // In Postgres eight units are sold, so it refuses three more, and two are for sale.
        if (forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);
        await sale.SettleAsync(lateId, Verdict.RejectedForStock);
        if (!forgottenFirst) await sale.SettleAsync(forgottenId, Verdict.Live);

        Assert.Equal((2, 0), (await sale.RemainingAsync(0), await sale.OwedAsync(0)));
    }

    [Fact]
    public async Task Units_that_are_refused_for_an_order_which_is_cancelled_before_it_is_settled_are_for_sale_again()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [3], [9], 0);
        var (forgottenId, lateId) = await ForgetOneAndSellThreeAsync(sale);

        // The worker died after its commit, and the order is cancelled before Redis hears of it.
        Assert.True(await sale.ReturnAsync(forgottenId, sale.Epoch));
        await sale.SettleAsync(lateId, Verdict.RejectedForStock);
        await sale.SettleAsync(forgottenId, Verdict.Live);

        Assert.Equal((3, 0), (await sale.RemainingAsync(0), await sale.OwedAsync(0)));
    }

    private static async Task<(Guid Forgotten, Guid Late)> ForgetOneAndSellThreeAsync(ScriptedSale sale)
    {
        var (forgotten, late) = (new Wish(0, 0, 0, 1), new Wish(1, 0, 0, 3));
        var (forgottenId, lateId) = (ScriptedSale.NewOrderId(forgotten), ScriptedSale.NewOrderId(late));
        await sale.BuyAsync([forgotten], [forgottenId]);
        await sale.ForgetAsync(stock: 3);
        Assert.Equal(ReserveCode.AcceptedLast, (await sale.BuyAsync([late], [lateId]))[0].Code);
        return (forgottenId, lateId);
    }

    [Fact]
    public async Task A_forgotten_order_that_was_rejected_makes_its_user_a_buyer_all_the_same()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [5], [9], 0);
        var wish = new Wish(0, 0, 0, 1);
        var id = ScriptedSale.NewOrderId(wish);
        await sale.BuyAsync([wish], [id]);
        await sale.ForgetAsync(stock: 5);
        await sale.SettleAsync(id, Verdict.Rejected);
        Assert.Equal(1, await sale.BuyersAsync());
        Assert.Equal(5, await sale.RemainingAsync(0));
    }
}
