using FlashSale.IntegrationTests.Infrastructure;
using FsCheck;
using FsCheck.Fluent;

namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// Long histories mix all events of a sale and its orders with crashes. Each answer, and the books at the end, agree
/// with the model.
/// </summary>
public sealed class HistoryTests(Lively fixture, ITestOutputHelper output) : LifeTest(fixture, output), IClassFixture<Lively>
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Fact]
    public void Whatever_happens_in_whatever_order_the_books_are_the_models() =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(12), Prop.ForAll(Histories(), FollowAsync));

    [Fact]
    public async Task The_model_notices_a_unit_that_is_lost()
    {
        var sale = await OpenAsync();
        var model = new HistoryModel();
        await Stack.Redis.Client.CallAsync("HINCRBY", sale.RedisPrefix + "stock", sale.Items[1].Sku, "-1");
        await Assert.ThrowsAnyAsync<Exception>(() => EndAsync(sale, model));
    }

    private static Arbitrary<Happening[]> Histories()
    {
        var order = Gen.Choose(0, 99);
        var item = Gen.Choose(0, HistoryModel.Items - 1);
        var buy = from user in Gen.Choose(0, HistoryModel.Users - 1) from i in item from quantity in Gen.Choose(1, 2) select (Happening)new Happening.Buy(user, i, quantity);
        var change = from i in item from delta in Gen.Elements(-2, -1, 1, 2) select (Happening)new Happening.ChangeStock(i, delta);
        var happening = Gen.Frequency(
            (10, buy), (4, order.Select(n => (Happening)new Happening.Pay(n))), (4, order.Select(n => (Happening)new Happening.Cancel(n))),
            (3, order.Select(n => (Happening)new Happening.Expire(n))), (3, order.Select(n => (Happening)new Happening.Refund(n))),
            (2, order.Select(n => (Happening)new Happening.Retry(n))), (3, change), (1, Gen.Constant<Happening>(new Happening.Pause())),
            (2, Gen.Constant<Happening>(new Happening.Resume())), (1, Gen.Constant<Happening>(new Happening.Rebuild())),
            (1, Gen.Constant<Happening>(new Happening.WorkersDie())), (1, Gen.Constant<Happening>(new Happening.RedisDies())));
        return Arb.From(happening.ArrayOf(40), history => Enumerable.Range(0, history.Length).Select(i => history.Where((_, n) => n != i).ToArray()));
    }

    private async Task<bool> FollowAsync(Happening[] history)
    {
        var sale = await OpenAsync();
        var model = new HistoryModel();
        var crash = Task.CompletedTask;
        foreach (var happening in history)
        {
            if (happening is Happening.WorkersDie or Happening.RedisDies)
            {
                await crash;
                crash = happening is Happening.RedisDies ? Stack.Redis.RestartAsync() : Task.WhenAll(Stack.Workers.Select(worker => worker.RestartAsync()));
                continue;
            }
            try
            {
                await HappenAsync(sale, model, happening);
            }
            catch (Exception e) when (e is Xunit.Sdk.XunitException or TimeoutException)
            {
                throw new InvalidOperationException($"At {happening}: {e.Message}", e);
            }
        }
        await crash;
        await EndAsync(sale, model);
        return true;
    }

    private Task<Sale> OpenAsync() => Stack.OpenSaleAsync([.. new HistoryModel().Stock.Select((stock, i) => new ItemDraft($"item-{i}", stock, HistoryModel.Limit))]);

    private async Task HappenAsync(Sale sale, HistoryModel model, Happening happening)
    {
        switch (happening)
        {
            case Happening.Buy buy:
                await BuyAsync(sale, model, buy);
                break;
            case Happening.ChangeStock change:
                var allowed = model.ChangeStock(change);
                var key = Guid.NewGuid().ToString();
                Is(allowed ? (200, null) : (409, "stock_below_sold"),
                    await SettledAsync(() => Stack.Manager.ChangeStockAsync(sale.Id, sale.Items[change.Item].Sku, change.Delta, key)));
                break;
            case Happening.Pause or Happening.Resume:
                await TurnAsync(sale, model, happening is Happening.Pause);
                break;
            case Happening.Rebuild:
                Is(model.IsPaused ? (200, null) : (409, "sale_state_conflict"), await SettledAsync(() => Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/rebuild")));
                break;
            case Happening.Pay(var n) when model.Orders.Count > 0:
                var paid = model.Orders[n % model.Orders.Count];
                Assert.Equal(HistoryModel.Pay(paid), await PayAsync(paid.OrderId, $"pay-{Guid.NewGuid()}"));
                break;
            case Happening.Cancel(var n) when model.Orders.Count > 0:
                var cancelled = model.Orders[n % model.Orders.Count];
                Is(model.Cancel(cancelled) ? (200, null) : (409, "order_not_cancellable"), await SettledAsync(() => Stack.Shopper($"user-{cancelled.User}", n % 2).CancelAsync(cancelled.OrderId)));
                break;
            case Happening.Expire(var n) when model.Orders.Count > 0:
                var expired = model.Orders[n % model.Orders.Count];
                HistoryModel.Expire(expired);
                await DueInAsync(sale, 0, expired.OrderId);
                await StatusAsync(expired.OrderId, expired.Status);
                break;
            case Happening.Refund(var n) when model.Orders.Count > 0:
                var refunded = model.Orders[n % model.Orders.Count];
                Is(HistoryModel.Refund(refunded) ? (200, null) : (409, "order_not_refundable"), await SettledAsync(() => Stack.Manager.RefundAsync(refunded.OrderId)));
                break;
            case Happening.Retry(var n) when model.Orders.Count > 0:
                var again = model.Orders[n % model.Orders.Count];
                var answer = await SettledAsync(() => Stack.Shopper($"user-{again.User}", n % 2).BuyAsync(sale, again.Key, sale.Items[again.Item].Sku, again.Quantity));
                Is((202, null), answer);
                Assert.Equal(again.OrderId, answer.OrderId);
                break;
        }
        // Returned units must be for sale again before the next thing happens, since the model has no state in between.
        await Eventually.TrueAsync("nothing is on its way back", Patience, async () =>
            !await ScalarAsync<bool>("select exists (select 1 from stock_return where sale_id = @Id and state = 'pending')", new { sale.Id }));
    }

    private async Task BuyAsync(Sale sale, HistoryModel model, Happening.Buy buy)
    {
        var (expected, key, sku) = (model.Buy(buy), Guid.NewGuid().ToString(), sale.Items[buy.Item].Sku);
        var shopper = Stack.Shopper($"user-{buy.User}", buy.User % 2);
        // A node may still believe in a sell-out, a pause or an opening for a moment, less than a second.
        var answer = await Eventually.GetAsync($"the answer to {buy} is {expected ?? "202"}", Patience, () => SettledAsync(() => shopper.BuyAsync(sale, key, sku, buy.Quantity)),
            answer => answer.Status == 202 || answer.Code == expected);
        Is(expected is null ? (202, null) : (409, expected), answer);
        if (expected is not null) return;
        model.Orders.Add(new ModelOrder(answer.OrderId, key, buy.User, buy.Item, buy.Quantity));
        await StatusAsync(answer.OrderId, "pending_payment");
    }

    private async Task TurnAsync(Sale sale, HistoryModel model, bool paused)
    {
        var changes = model.Turn(paused);
        var answer = await SettledAsync(() => Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/{(paused ? "pause" : "resume")}"));
        // A repeat after a lost answer finds the sale in the wanted state already.
        Assert.True(answer.Status == (changes ? 200 : 409) || answer.Code == "sale_state_conflict", answer.ToString());
        await Stack.StatusOnEveryNodeAsync(sale.Id, paused ? "paused" : Enumerable.Range(0, HistoryModel.Items).All(item => model.Remaining(item) == 0) ? "sold_out" : "open");
    }

    // The test asks again while a store is away or the outcome cannot be known.
    private static Task<Answer> SettledAsync(Func<Task<Answer>> ask) =>
        Eventually.GetAsync("there is an answer", Patience, ask, answer => answer.Status is not (0 or 503));

    private static void Is((int Status, string? Code) expected, Answer answer) =>
        Assert.True((answer.Status, answer.Code) == expected, $"expected {expected.Status} {expected.Code}, got {answer}");

    private async Task EndAsync(Sale sale, HistoryModel model)
    {
        var view = await Books.CheckAsync(Stack, sale);
        Assert.Equal(model.Orders.Select(order => (order.OrderId, order.Status)).Order(), view.Orders.Select(order => (order.OrderId, order.Status)).Order());
        for (var item = 0; item < HistoryModel.Items; item++)
        {
            var sku = sale.Items[item].Sku;
            var row = view.Items.Single(row => row.Sku == sku);
            Assert.Equal((model.Stock[item], model.Live(item), (long)model.Remaining(item)), (row.Stock, row.Sold, view.Remaining[sku]));
        }
        foreach (var quota in view.Quotas)
            Assert.Equal(model.Orders.Where(order => order.IsLive && $"user-{order.User}" == quota.UserId && sale.Items[order.Item].Sku == quota.Sku).Sum(order => order.Quantity), quota.Units);
    }
}
