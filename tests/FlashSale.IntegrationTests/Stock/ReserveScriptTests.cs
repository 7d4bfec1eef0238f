using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using FsCheck;
using FsCheck.Fluent;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>
/// reserve.lua decides as a model does, alone and in parallel, and refuses where Redis or the sale is not as it should
/// be.
/// </summary>
public sealed class ReserveScriptTests(ScriptFixture fixture) : IClassFixture<ScriptFixture>
{
    private static readonly Config Quietly = Config.QuickThrowOnFailure;

    [Fact]
    public void One_by_one_it_decides_as_the_model_does() => Check.One(Quietly.WithMaxTest(150), Prop.ForAll(Histories(1), FollowAsync));

    [Fact]
    public void In_batches_that_hold_the_same_user_key_and_last_unit_it_decides_as_the_model_does() =>
        Check.One(Quietly.WithMaxTest(150), Prop.ForAll(Histories(12), FollowAsync));

    [Fact]
    public void With_tickets_it_decides_one_by_one_as_the_model_does() =>
        Check.One(Quietly.WithMaxTest(150), Prop.ForAll(Histories(1, ticketed: true), history => FollowAsync(history, new SaleModel(requiresTicket: true))));

    [Fact]
    public void With_tickets_that_a_batch_holds_twice_it_decides_as_the_model_does() =>
        Check.One(Quietly.WithMaxTest(150), Prop.ForAll(Histories(12, ticketed: true), history => FollowAsync(history, new SaleModel(requiresTicket: true))));

    [Fact]
    public void A_sale_that_requires_no_tickets_takes_no_notice_of_them() =>
        Check.One(Quietly.WithMaxTest(50), Prop.ForAll(Histories(12, ticketed: true), FollowAsync));

    [Fact]
    public async Task The_model_test_notices_a_script_that_forgets_burnt_tickets()
    {
        var model = new SaleModel(requiresTicket: true);
        var sale = await NewSaleAsync(requiresTicket: true);
        await FollowAsync([new Step.Buy([new(0, 0, 0, 1, Brought.Good)], false, false)], sale, model);
        await sale.ForgetBurntTicketsAsync();
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => FollowAsync([new Step.Buy([new(0, 1, 0, 1, Brought.Good)], false, false)], sale, model));
    }

    [Fact]
    public async Task Parallel_calls_with_one_ticket_buy_once()
    {
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [1_000], [1_000], 0, requiresTicket: true);
        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(key => Task.Run(async () =>
        {
            Wish[] twice = [new(0, 2 * key, 0, 1, Brought.Good), new(0, 2 * key + 1, 0, 1, Brought.Good)];
            return await sale.BuyAsync(twice, [.. twice.Select(ScriptedSale.NewOrderId)]);
        })));
        var codes = answers.SelectMany(decisions => decisions).Select(decision => decision.Code).ToList();
        Assert.Single(codes, ReserveCode.Accepted);
        Assert.Equal(399, codes.Count(code => code is ReserveCode.TicketInvalid));
        Assert.Equal(999, await sale.RemainingAsync(0));
    }

    [Fact]
    public async Task The_model_test_notices_a_script_that_oversells()
    {
        var sale = await NewSaleAsync();
        var model = new SaleModel();
        await fixture.Redis.CallAsync(database => database.HashIncrementAsync(sale.Keys.Stock, ScriptedSale.Sku(0)));
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => FollowAsync(
            [new Step.Buy([new(0, 0, 0, 2), new(1, 0, 0, 2)], false, false)], sale, model));
    }

    [Fact]
    public async Task The_model_test_notices_a_script_that_gives_back_twice()
    {
        var sale = await NewSaleAsync();
        var model = new SaleModel();
        await FollowAsync([new Step.Buy([new(0, 0, 0, 2)], false, false), new Step.Settle(0, Verdict.Live), new Step.Return(0, false)], sale, model);
        await fixture.Redis.CallAsync(database => database.KeyDeleteAsync(sale.Keys.Returned));
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => FollowAsync([new Step.Return(0, false)], sale, model));
    }

    [Fact]
    public async Task In_parallel_with_pause_close_return_and_epoch_change_no_unit_and_no_limit_is_exceeded_and_every_acceptance_is_in_the_outbox()
    {
        const int Stock = 60, Limit = 2, Users = 80, Lanes = 16, CallsPerLane = 120;
        var sale = await ScriptedSale.StartAsync(fixture.Redis, [Stock], [Limit], Limit);
        var lanes = Enumerable.Range(0, Lanes).Select(number => new SaleLane(sale, number, Users)).ToList();
        await Task.WhenAll(lanes.Select(lane => Task.Run(() => lane.RunAsync(CallsPerLane))));

        var all = lanes.SelectMany(lane => lane.Answers).ToList();
        var orders = lanes.SelectMany(lane => lane.Orders).ToList();
        // A run without these answers would not have tested them.
        Assert.All([ReserveCode.Paused, ReserveCode.Closed, ReserveCode.OtherEpoch, ReserveCode.SoldOut, ReserveCode.LimitReached],
            code => Assert.Contains(all, answer => answer.Decision.Code == code));
        Assert.True(orders.Where(order => order.ReturnedUnder is not null).DistinctBy(order => order.ReturnedUnder).Count() > 1);
        Assert.Contains(orders, order => order.Verdict is null);

        Assert.Equal(orders.Select(order => order.Id).Order(), (await sale.OutboxAsync()).Order());
        // A key has one acceptance, and every replay names it.
        var byKey = orders.ToDictionary(order => (order.Wish.User, order.Wish.Key), order => order.Id);
        Assert.All(all.Where(answer => answer.Decision.Code is ReserveCode.Replay),
            answer => Assert.Equal(byKey[(answer.Wish.User, answer.Wish.Key)], answer.Decision.OrderId));
        Assert.Equal(orders.Where(order => order.Verdict is null).Select(order => order.Id).ToHashSet(), await sale.InFlightAsync());
        Assert.Equal(orders.Where(order => order.Verdict is null).Sum(order => order.Wish.Quantity), await sale.InFlightUnitsAsync(0));
        await AssertHeldAsync();

        // As a control, units that came back before come back once more, and the check must notice it.
        await sale.RaiseEpochAsync();
        await AssertHeldAsync();
        Assert.True(await sale.ReturnAsync(orders.First(order => order.ReturnedUnder is not null).Id, sale.Epoch));
        await Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(AssertHeldAsync);

        async Task AssertHeldAsync()
        {
            var held = orders.Where(order => order.HoldsUnits).ToLookup(order => order.Wish.User, order => order.Wish.Quantity);
            for (var user = 0; user < Users; user++)
            {
                var units = await sale.UnitsOfAsync(user, 0);
                Assert.InRange(units, 0, Limit);
                Assert.Equal(held[user].Sum(), units);
                Assert.Equal(units, await sale.UnitsOfAsync(user, null));
            }
            Assert.Equal(Stock, held.Sum(user => user.Sum()) + await sale.RemainingAsync(0));
        }
    }

    [Fact]
    public async Task A_key_of_the_wrong_type_refuses_the_call_and_nothing_is_written()
    {
        foreach (var name in new[] { "stock", "limit", "inflight", "inflight_units", "outbox", "facts", "buyers" })
        {
            var sale = await NewSaleAsync();
            var user = Fingerprints.OfUser(ScriptedSale.UserId(0));
            RedisKey broken = name switch
            {
                "facts" => sale.Keys.Facts(1, (long)((user >> 32) % 3)),
                "buyers" => sale.Keys.Buyers(1),
                _ => sale.Keys.Prefix + name,
            };
            await fixture.Redis.CallAsync(database => database.KeyDeleteAsync(broken));
            await fixture.Redis.CallAsync(database => database.SetAddAsync(broken, "not what it should be"));
            var before = await fixture.Server.DigestAsync(sale.Keys.Prefix);
            var wish = new Wish(0, 0, 0, 1);
            await Assert.ThrowsAsync<RedisUnavailableException>(() => sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]));
            Assert.Equal(before, await fixture.Server.DigestAsync(sale.Keys.Prefix));
        }
    }

    [Fact]
    public async Task With_its_memory_full_Redis_refuses_the_call_and_nothing_is_written()
    {
        var sale = await NewSaleAsync();
        var before = await fixture.Server.DigestAsync(sale.Keys.Prefix);
        await fixture.Redis.CallAsync(database => database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1"));
        try
        {
            var wish = new Wish(0, 0, 0, 1);
            await Assert.ThrowsAsync<RedisUnavailableException>(() => sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]));
        }
        finally
        {
            await fixture.Redis.CallAsync(database => database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0"));
        }
        Assert.Equal(before, await fixture.Server.DigestAsync(sale.Keys.Prefix));
    }

    [Fact]
    public async Task A_sale_that_is_not_loaded_sells_nothing()
    {
        var sale = await NewSaleAsync();
        await fixture.Redis.CallAsync(database => database.KeyDeleteAsync(sale.Keys.Sale));
        var wish = new Wish(0, 0, 0, 1);
        Assert.Equal(ReserveCode.NotLoaded, (await sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]))[0].Code);
    }

    [Theory]
    [InlineData("opens", 60_000, ReserveCode.NotOpen)]
    [InlineData("closes", -60_000, ReserveCode.Closed)]
    public async Task Outside_its_window_by_Redis_time_it_sells_nothing(string field, int distance, ReserveCode code)
    {
        var sale = await NewSaleAsync();
        await fixture.Redis.CallAsync(database => database.HashSetAsync(sale.Keys.Sale, field, fixture.Redis.NowMilliseconds + distance));
        var wish = new Wish(0, 0, 0, 1);
        Assert.Equal(code, (await sale.BuyAsync([wish], [ScriptedSale.NewOrderId(wish)]))[0].Code);
    }

    private Task<ScriptedSale> NewSaleAsync(bool requiresTicket = false) =>
        ScriptedSale.StartAsync(fixture.Redis, new SaleModel().Remaining, SaleModel.ItemLimits, SaleModel.SaleLimit, requiresTicket);

    private Task FollowAsync(IList<Step> history) => FollowAsync(history, new SaleModel());

    private async Task FollowAsync(IList<Step> history, SaleModel model) => await FollowAsync(history, await NewSaleAsync(model.RequiresTicket), model);

    private static async Task FollowAsync(IList<Step> history, ScriptedSale sale, SaleModel model)
    {
        foreach (var step in history) await FollowAsync(step, sale, model);

        for (var item = 0; item < SaleModel.Items; item++)
        {
            Assert.Equal((model.Remaining[item], model.Owed[item]), (await sale.RemainingAsync(item), await sale.OwedAsync(item)));
            Assert.Equal(model.InFlight.Where(order => order.Wish.Item == item).Sum(order => order.Wish.Quantity), await sale.InFlightUnitsAsync(item));
            for (var user = 0; user < SaleModel.Users; user++)
                Assert.Equal(model.Bought.GetValueOrDefault((user, item)), await sale.UnitsOfAsync(user, item));
        }
        for (var user = 0; user < SaleModel.Users; user++) Assert.Equal(model.UnitsOf(user), await sale.UnitsOfAsync(user, null));
        Assert.Equal(model.InFlight.Select(order => order.OrderId).ToHashSet(), await sale.InFlightAsync());
        Assert.Equal(model.Accepted, (await sale.OutboxAsync()).Count);
        Assert.Equal(model.Buyers, await sale.BuyersAsync());
        Assert.Equal(model.Remaining.Count(units => units > 0), await sale.ItemsLeftAsync());
        Assert.Equal(model.Burnt, (await sale.BurntTicketsAsync()).Count);
    }

    private static async Task FollowAsync(Step step, ScriptedSale sale, SaleModel model)
    {
        switch (step)
        {
            case Step.Buy buy:
                var ids = buy.Wishes.Select(ScriptedSale.NewOrderId).ToList();
                var expected = buy.Wishes.Select((wish, i) => model.Decide(wish, ids[i], buy.WithOldEpoch, buy.TooLate)).ToList();
                await sale.LetRestAsync();
                var decided = await sale.BuyAsync(buy.Wishes, ids, buy.WithOldEpoch, buy.TooLate);
                Assert.Equal(expected, decided.Select((decision, i) =>
                    new Expected(decision.Code, decision.Code is ReserveCode.Accepted or ReserveCode.AcceptedLast ? ids[i] : decision.OrderId)));
                break;
            case Step.Turn turn:
                model.Turn(turn.Status);
                await sale.TurnAsync(turn.Status);
                break;
            case Step.Verified verified:
                model.Verify(verified.Is);
                await sale.VerifyAsync(verified.Is);
                break;
            case Step.NextEpoch:
                model.RaiseEpoch();
                await sale.RaiseEpochAsync();
                break;
            case Step.Settle settle when model.InFlight.Count > 0:
                var index = settle.Choice % model.InFlight.Count;
                var id = model.InFlight[index].OrderId;
                var verdict = model.Settle(index, settle.Verdict);
                await sale.SettleAsync(id, verdict);
                // The broker may deliver a pack again. Nothing may happen a second time.
                await sale.SettleAsync(id, verdict);
                break;
            case Step.Forget forget when model.InFlight.Count > 0:
                var lost = model.InFlight[forget.Choice % model.InFlight.Count].OrderId;
                if (model.Forget(forget.Choice % model.InFlight.Count)) await sale.ForgetOrderAsync(lost);
                break;
            case Step.SettleForgotten late when model.Forgotten.Count > 0:
                var found = model.Forgotten[late.Choice % model.Forgotten.Count].OrderId;
                var judged = model.SettleForgotten(late.Choice % model.Forgotten.Count, late.Verdict);
                await sale.SettleAsync(found, judged);
                await sale.SettleAsync(found, judged);
                break;
            case Step.Return give:
                await ReturnAsync(give, sale, model);
                break;
        }
    }

    private static async Task ReturnAsync(Step.Return give, ScriptedSale sale, SaleModel model)
    {
        if (model.Returnable.Count > 0)
        {
            var index = give.Choice % model.Returnable.Count;
            var id = model.Returnable[index].OrderId;
            Assert.Equal(model.Return(index, give.WithOldEpoch), await sale.ReturnAsync(id, give.WithOldEpoch ? model.Epoch - 1 : model.Epoch));
        }
        // Calls that were given up arrive late, each under its epoch. Nothing may happen a second time.
        foreach (var (id, epoch) in model.Returned) await sale.ReturnAsync(id, epoch);
    }

    private static Arbitrary<IList<Step>> Histories(int maxBatch, bool ticketed = false)
    {
        var brought = ticketed
            ? Gen.Frequency((10, Gen.Constant(Brought.Good)), (1, Gen.Elements(Brought.Nothing, Brought.Forged, Brought.Expired, Brought.OfOtherEpoch)))
            : Gen.Constant(Brought.Nothing);
        var wish = from user in Gen.Choose(0, SaleModel.Users - 1)
                   from key in Gen.Choose(0, SaleModel.Keys - 1)
                   from item in Gen.Choose(0, SaleModel.Items - 1)
                   from quantity in Gen.Choose(1, 3)
                   from ticket in brought
                   from number in Gen.Choose(0, SaleModel.Tickets - 1)
                   select new Wish(user, key, item, quantity, ticket, number);
        var buy = from size in Gen.Choose(1, maxBatch)
                  from wishes in Gen.ArrayOf(wish, size)
                  from oldEpoch in Gen.Frequency((12, Gen.Constant(false)), (1, Gen.Constant(true)))
                  from tooLate in Gen.Frequency((12, Gen.Constant(false)), (1, Gen.Constant(true)))
                  select (Step)new Step.Buy(wishes, oldEpoch, tooLate);
        var step = Gen.Frequency(
            (20, buy),
            (2, Gen.Elements("live", "live", "live", "paused", "closed").Select(status => (Step)new Step.Turn(status))),
            (6, from choice in Gen.Choose(0, 100) from verdict in Gen.Elements(Verdict.Live, Verdict.Rejected, Verdict.RejectedForStock) select (Step)new Step.Settle(choice, verdict)),
            (4, from choice in Gen.Choose(0, 100) from oldEpoch in Gen.Frequency((6, Gen.Constant(false)), (1, Gen.Constant(true))) select (Step)new Step.Return(choice, oldEpoch)),
            (2, Gen.Choose(0, 100).Select(choice => (Step)new Step.Forget(choice))),
            (3, from choice in Gen.Choose(0, 100) from verdict in Gen.Elements(Verdict.Live, Verdict.Live, Verdict.RejectedForStock) select (Step)new Step.SettleForgotten(choice, verdict)),
            (1, Gen.Constant((Step)new Step.NextEpoch())),
            (1, Gen.Elements(true, true, false).Select(verified => (Step)new Step.Verified(verified))));
        return Gen.ListOf(step).Select(steps => (IList<Step>)[.. steps]).ToArbitrary();
    }
}
