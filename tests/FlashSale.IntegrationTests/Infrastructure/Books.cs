using System.Text.Json;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>What a fault may have cost, beyond which the promises hold as always.</summary>
[Flags]
public enum Loss
{
    /// <summary>Every acceptance is an order.</summary>
    None = 0,

    /// <summary>Redis lost its disk: acceptances that had not reached Postgres may be gone.</summary>
    Acceptances = 1,

    /// <summary>Redis forgot what it had sold: acceptances may turn out rejected.</summary>
    Rejections = 2,
}

/// <summary>
/// Checks the promises I1 to I5 from the two stores, the ledger's own answer and what shoppers were told.
/// Every test of a fault, a race or a load ends here.
/// </summary>
public static class Books
{
    /// <summary>Waits until nothing is on its way and lists what is wrong.</summary>
    /// <exception cref="Xunit.Sdk.XunitException">A promise is broken, or there is no rest within the deadline.</exception>
    public static async Task<BooksView> CheckAsync(Stack stack, Sale sale, Loss loss = Loss.None, int restSeconds = 60)
    {
        var view = await RestAsync(stack, sale, TimeSpan.FromSeconds(restSeconds));
        List<string> broken = [.. Judge(view, sale.History, loss), .. JudgeLedger(view, await LedgerAsync(stack, sale))];
        if (broken.Count > 0) Assert.Fail($"{broken.Count} promises are broken ({sale.History.Summary}):\n{string.Join('\n', broken.Take(30))}");
        return view;
    }

    // A manager's host that has just lost a store says so, and is connected again a little later than the other hosts.
    private static async Task<JsonElement> LedgerAsync(Stack stack, Sale sale)
    {
        var answer = await Eventually.GetAsync("the ledger answers", TimeSpan.FromSeconds(10),
            () => stack.Manager.GetAsync($"/api/v1/sales/{sale.Id}/ledger"), answer => answer.Status != 503);
        return Manager.Expect(200, answer).Json;
    }

    /// <summary>Reads until nothing is on its way.</summary>
    public static async Task<BooksView> RestAsync(Stack stack, Sale sale, TimeSpan deadline)
    {
        // The outbox first: reading all orders over and over would compete with what is being waited for.
        await Eventually.TrueAsync($"the outbox of {sale.Id} is empty", deadline, async () => await stack.Redis.Client.NumberAsync("XLEN", sale.RedisPrefix + "outbox") == 0);
        BooksView? view = null;
        await Eventually.TrueAsync($"no order of {sale.Id} is in flight", deadline, async () =>
        {
            view = await ReadAsync(stack, sale);
            return view.IsAtRest;
        });
        return view!;
    }

    public static async Task<BooksView> ReadAsync(Stack stack, Sale sale)
    {
        await using var connection = await stack.Database.Source.OpenConnectionAsync();
        return await BooksView.ReadAsync(connection, stack.Redis.Client, sale);
    }

    /// <summary>The broken promises of a sale at rest.</summary>
    public static IEnumerable<string> Judge(BooksView view, History history, Loss loss = Loss.None) =>
        [.. JudgeStock(view), .. JudgeUsers(view), .. JudgeLives(view), .. JudgeAnswers(view, history, loss), .. JudgeReplays(history)];

    /// <summary>Whether the product's own account agrees with this one.</summary>
    public static IEnumerable<string> JudgeLedger(BooksView view, JsonElement ledger)
    {
        if (!ledger.GetProperty("balanced").GetBoolean()) yield return $"I2: the ledger says that it is not balanced: {ledger}";
        var lines = ledger.GetProperty("items").EnumerateArray().ToDictionary(line => line.GetProperty("sku").GetString()!, StringComparer.Ordinal);
        foreach (var item in view.Items)
        {
            var expected = $"stock {item.Stock}, remaining {view.Remaining.GetValueOrDefault(item.Sku)}, in flight {InflightOf(view, item.Sku)}, live {LiveOf(view, item.Sku)}";
            var told = !lines.TryGetValue(item.Sku, out var line)
                ? "nothing"
                : $"stock {line.GetProperty("stock")}, remaining {line.GetProperty("remaining")}, in flight {line.GetProperty("inFlight")}, live {line.GetProperty("live")}";
            if (told != expected) yield return $"I2: the ledger tells of {item.Sku}: {told}; it is {expected}";
        }
    }

    private static IEnumerable<string> JudgeStock(BooksView view)
    {
        foreach (var item in view.Items)
        {
            var live = LiveOf(view, item.Sku);
            var inflight = InflightOf(view, item.Sku);
            if (!view.Remaining.TryGetValue(item.Sku, out var remaining)) yield return $"I2: Redis has no stock of {item.Sku}";
            if (item.Sold < 0 || item.Sold > item.Stock || live > item.Stock) yield return $"I1: {item.Sku}: stock {item.Stock}, sold {item.Sold}, live {live}";
            if (remaining < 0) yield return $"I1: {item.Sku}: {remaining} remain in Redis";
            if (item.Sold != live) yield return $"I2: {item.Sku}: sold is {item.Sold}, live orders hold {live}";
            if (item.Stock != remaining + inflight + live) yield return $"I2: {item.Sku}: stock {item.Stock}, remaining {remaining}, in flight {inflight}, live {live}";
            if (view.InflightUnits.GetValueOrDefault(item.Sku) != inflight)
                yield return $"I2: {item.Sku}: Redis counts {view.InflightUnits.GetValueOrDefault(item.Sku)} units in flight, its records {inflight}";
        }
    }

    private static IEnumerable<string> JudgeUsers(BooksView view)
    {
        var limits = view.Items.ToDictionary(item => item.Sku, item => item.PerUserLimit, StringComparer.Ordinal);
        var quotas = view.Quotas.ToDictionary(quota => (quota.UserId, quota.Sku), quota => quota.Units);
        foreach (var bought in view.Orders.Where(order => order.IsLive).GroupBy(order => (order.UserId, order.Sku)))
        {
            var units = bought.Sum(order => order.Quantity);
            if (units > limits[bought.Key.Sku]) yield return $"I4: {bought.Key.UserId} holds {units} of {bought.Key.Sku}, the limit is {limits[bought.Key.Sku]}";
            if (quotas.GetValueOrDefault(bought.Key) != units) yield return $"I4: {bought.Key} holds {units}, the quota says {quotas.GetValueOrDefault(bought.Key)}";
        }
        foreach (var bought in view.Orders.Where(order => order.IsLive).GroupBy(order => order.UserId))
        {
            if (bought.Sum(order => order.Quantity) > view.SaleLimit) yield return $"I4: {bought.Key} holds more than the sale's limit of {view.SaleLimit}";
        }
        var live = view.Orders.Where(order => order.IsLive).GroupBy(order => (order.UserId, order.Sku)).Select(group => group.Key).ToHashSet();
        foreach (var quota in view.Quotas.Where(quota => quota.Sku.Length > 0 && quota.Units != 0 && !live.Contains((quota.UserId, quota.Sku))))
            yield return $"I4: {quota.UserId} is charged {quota.Units} of {quota.Sku} without an order";
        foreach (var key in view.Orders.Where(order => order.Status != "rejected").GroupBy(order => (order.UserId, order.Key)).Where(group => group.Count() > 1))
            yield return $"I4: {key.Count()} orders for {key.Key}";
    }

    // What an order went through must fit together, whatever happened at the same moment.
    private static IEnumerable<string> JudgeLives(BooksView view)
    {
        foreach (var order in view.Orders)
        {
            var expected = order.Status switch
            {
                "pending_payment" => (Paid: false, Closed: false, Payments: 0L, Returns: 0L),
                "paid" => (true, false, 1, 0),
                "refunded" => (true, true, 1, 1),
                "rejected" => (false, true, 0, 0),
                _ => (false, true, 0, 1),
            };
            if ((order.IsPaid, order.IsClosed, order.Payments, order.Returns) != expected) yield return $"I6: {order} should have {expected}";
            if (order.Status == "refunded" && order.Refunds == 0) yield return $"I6: the payment of {order} is not refunded";
        }
    }

    private static IEnumerable<string> JudgeAnswers(BooksView view, History history, Loss loss)
    {
        var orders = view.Orders.ToDictionary(order => order.OrderId);
        foreach (var told in history.Accepted)
        {
            var orderId = told.Answer.OrderId;
            if (!orders.TryGetValue(orderId, out var order))
            {
                if (!view.DeadLetters.Contains(orderId) && !loss.HasFlag(Loss.Acceptances)) yield return $"I3: {told.UserId} was told 202 with {orderId}, which is not in Postgres";
                continue;
            }
            if ((order.UserId, order.Key, order.Sku, order.Quantity) != (told.UserId, told.Key, told.Sku, told.Quantity)) yield return $"I3: {told} became {order}";
            if (order.Status == "rejected" && !loss.HasFlag(Loss.Rejections)) yield return $"I3: {told.UserId} was told 202 with {orderId}, which was rejected";
        }
        var accepted = history.Accepted.Select(told => told.Answer.OrderId).ToHashSet();
        var unknown = history.Attempts.Where(attempt => attempt.IsUnknown).Select(attempt => (attempt.UserId, attempt.Key)).ToHashSet();
        foreach (var order in view.Orders.Where(order => !accepted.Contains(order.OrderId) && !unknown.Contains((order.UserId, order.Key))))
            yield return $"I7: {order} was sold to somebody who was told otherwise";
    }

    private static IEnumerable<string> JudgeReplays(History history)
    {
        foreach (var told in history.Attempts.Where(attempt => attempt.Answer.Status == 202).GroupBy(attempt => (attempt.UserId, attempt.Key)))
        {
            if (told.Any(attempt => !attempt.Answer.Body.AsSpan().SequenceEqual(told.First().Answer.Body))) yield return $"I5: {told.Key} was given different answers";
            var originals = told.Count(attempt => !attempt.Answer.IsReplay);
            if (originals > 1) yield return $"I5: {originals} answers to {told.Key} are not marked as replays";
        }
    }

    private static long LiveOf(BooksView view, string sku) => view.Orders.Where(order => order.IsLive && order.Sku == sku).Sum(order => (long)order.Quantity);

    private static long InflightOf(BooksView view, string sku) => view.Inflight.Where(order => order.Sku == sku).Sum(order => (long)order.Quantity);
}
