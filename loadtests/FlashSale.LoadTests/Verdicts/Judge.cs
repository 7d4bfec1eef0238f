using System.Runtime.InteropServices;
using System.Text.Json;

namespace FlashSale.LoadTests.Verdicts;

/// <summary>
/// Judges a sale at rest. It compares the data of the two stores with the answers that shoppers got, promise by
/// promise, and looks at each record once. It shares no code with the product. The stores and answers cannot show I8,
/// so the scenario judges that promise.
/// </summary>
public sealed class Judge
{
    private readonly BooksView _view;
    private readonly Loss _loss;
    private readonly long _lossUntil;
    private readonly Dictionary<Guid, OrderRow> _orders;
    private readonly HashSet<Guid> _accepted = [];
    private readonly Dictionary<(string UserId, string Key), KeyState> _keys = [];
    private readonly Dictionary<(string UserId, string Sku), long> _toldUnits = [];
    private readonly SortedDictionary<string, long> _answers = new(StringComparer.Ordinal);
    private readonly HashSet<Guid> _deadLetters;

    private Judge(BooksView view, Loss loss, long lossUntil)
    {
        _view = view;
        _loss = loss;
        _lossUntil = lossUntil;
        _orders = view.Orders.ToDictionary(order => order.OrderId);
        _deadLetters = [.. view.DeadLetters];
    }

    public Findings Findings { get; } = new();

    /// <summary>Number of times that each answer was given: "202", "409 sold_out", "0" for no answer.</summary>
    public IReadOnlyDictionary<string, long> Answers => _answers;

    /// <summary>Number of keys that were accepted.</summary>
    public long Accepted { get; private set; }

    /// <summary>Number of acceptances without an order in Postgres, where such a loss was allowed.</summary>
    public long Lost { get; private set; }

    /// <summary>Number of keys with an unknown outcome that no later answer settled.</summary>
    public long Unsettled { get; private set; }

    /// <summary>Time at which the first request was sent, by <see cref="RunClock"/>. 0 without any request.</summary>
    public long FirstStarted { get; private set; }

    /// <summary>Judges all promises that two stores and a history can show.</summary>
    /// <param name="view">The data of a sale at rest.</param>
    /// <param name="history">The answers in the order in which they came.</param>
    /// <param name="loss">The loss that is no violation here.</param>
    /// <param name="lossUntil">The loss is allowed for acceptances that were asked for until this time, by
    /// <see cref="RunClock"/>.</param>
    public static Judge Of(BooksView view, IEnumerable<Told> history, Loss loss = Loss.None, long lossUntil = long.MaxValue)
    {
        var judge = new Judge(view, loss, lossUntil);
        judge.JudgeStock();
        judge.JudgeUsers();
        judge.JudgeLives();
        foreach (var told in history) judge.Hear(told);
        judge.JudgeUnknown();
        judge.JudgePromisedUnits();
        return judge;
    }

    /// <summary>Compares the product's own ledger with the data of the stores, and returns the differences.</summary>
    public static Findings OfLedger(BooksView view, JsonElement ledger)
    {
        var findings = new Findings();
        if (!ledger.GetProperty("balanced").GetBoolean()) findings.Add("I2", $"the ledger says that it is not balanced: {Shortened(ledger.ToString())}");
        var lines = ledger.GetProperty("items").EnumerateArray().ToDictionary(line => line.GetProperty("sku").GetString()!, StringComparer.Ordinal);
        var live = UnitsBySku(view.Orders.Where(order => order.IsLive).Select(order => (order.Sku, order.Quantity)));
        var inflight = UnitsBySku(view.Inflight.Select(order => (order.Sku, order.Quantity)));
        foreach (var item in view.Items)
        {
            var expected = $"stock {item.Stock}, remaining {view.Remaining.GetValueOrDefault(item.Sku)}, in flight {inflight.GetValueOrDefault(item.Sku)}, live {live.GetValueOrDefault(item.Sku)}";
            var told = !lines.TryGetValue(item.Sku, out var line)
                ? "nothing"
                : $"stock {line.GetProperty("stock")}, remaining {line.GetProperty("remaining")}, in flight {line.GetProperty("inFlight")}, live {line.GetProperty("live")}";
            if (told != expected) findings.Add("I2", $"the ledger tells of {item.Sku}: {told}; it is {expected}");
        }
        return findings;
    }

    private void JudgeStock()
    {
        var lives = UnitsBySku(_view.Orders.Where(order => order.IsLive).Select(order => (order.Sku, order.Quantity)));
        var inflights = UnitsBySku(_view.Inflight.Select(order => (order.Sku, order.Quantity)));
        foreach (var item in _view.Items)
        {
            var live = lives.GetValueOrDefault(item.Sku);
            var inflight = inflights.GetValueOrDefault(item.Sku);
            var counted = _view.InflightUnits.GetValueOrDefault(item.Sku);
            if (!_view.Remaining.TryGetValue(item.Sku, out var remaining)) Findings.Add("I2", $"Redis has no stock of {item.Sku}");
            if (item.Sold < 0 || item.Sold > item.Stock || live > item.Stock) Findings.Add("I1", $"{item.Sku}: stock {item.Stock}, sold {item.Sold}, live {live}");
            if (remaining < 0) Findings.Add("I1", $"{item.Sku}: {remaining} remain in Redis");
            if (item.Sold != live) Findings.Add("I2", $"{item.Sku}: sold is {item.Sold}, live orders hold {live}");
            if (item.Stock != remaining + inflight + live) Findings.Add("I2", $"{item.Sku}: stock {item.Stock}, remaining {remaining}, in flight {inflight}, live {live}");
            if (counted != inflight) Findings.Add("I2", $"{item.Sku}: Redis counts {counted} units in flight, its records {inflight}");
        }
        var stuck = _view.Inflight.Count(order => !_deadLetters.Contains(order.OrderId));
        if (_view.OutboxLength == 0 && stuck > 0) Findings.Add("I2", $"{stuck} orders are in flight, such as {_view.Inflight.First(order => !_deadLetters.Contains(order.OrderId))}, and the outbox is empty");
    }

    private void JudgeUsers()
    {
        var limits = _view.Items.ToDictionary(item => item.Sku, item => item.PerUserLimit, StringComparer.Ordinal);
        var ofItem = new Dictionary<(string UserId, string Sku), long>();
        var ofSale = new Dictionary<string, long>(StringComparer.Ordinal);
        var keys = new Dictionary<(string UserId, string Key), int>();
        foreach (var order in _view.Orders)
        {
            if (order.Status != "rejected") CollectionsMarshal.GetValueRefOrAddDefault(keys, (order.UserId, order.Key), out _)++;
            if (!order.IsLive) continue;
            CollectionsMarshal.GetValueRefOrAddDefault(ofItem, (order.UserId, order.Sku), out _) += order.Quantity;
            CollectionsMarshal.GetValueRefOrAddDefault(ofSale, order.UserId, out _) += order.Quantity;
        }
        var quotas = _view.Quotas.ToDictionary(quota => (quota.UserId, quota.Sku), quota => quota.Units);
        foreach (var (who, units) in ofItem)
        {
            if (units > limits.GetValueOrDefault(who.Sku)) Findings.Add("I4", $"{who.UserId} holds {units} of {who.Sku}, the limit is {limits.GetValueOrDefault(who.Sku)}");
            if (quotas.GetValueOrDefault(who) != units) Findings.Add("I4", $"{who} holds {units}, the quota says {quotas.GetValueOrDefault(who)}");
        }
        foreach (var (user, units) in ofSale)
        {
            if (units > _view.SaleLimit) Findings.Add("I4", $"{user} holds {units}, the sale's limit is {_view.SaleLimit}");
        }
        foreach (var (who, units) in quotas)
        {
            if (who.Sku.Length > 0 && units != 0 && !ofItem.ContainsKey(who)) Findings.Add("I4", $"{who.UserId} is charged {units} of {who.Sku} without an order");
        }
        foreach (var (key, count) in keys)
        {
            if (count > 1) Findings.Add("I4", $"{count} orders for {key}");
        }
    }

    // The status, times, payments and returns of an order must fit together, even if several events came at the same
    // moment.
    private void JudgeLives()
    {
        foreach (var order in _view.Orders)
        {
            var expected = order.Status switch
            {
                "pending_payment" => (Paid: false, Closed: false, Payments: 0L, Returns: 0L),
                "paid" => (true, false, 1, 0),
                "refunded" => (true, true, 1, 1),
                "rejected" => (false, true, 0, 0),
                _ => (false, true, 0, 1),
            };
            if ((order.IsPaid, order.IsClosed, order.Payments, order.Returns) != expected) Findings.Add("I6", $"{order} should have {expected}");
            if (order.Status == "refunded" && order.Refunds == 0) Findings.Add("I6", $"the payment of {order} is not refunded");
        }
    }

    private void Hear(in Told told)
    {
        var answer = told.Code.Length == 0 ? $"{told.Status}" : $"{told.Status} {told.Code}";
        _answers[answer] = _answers.GetValueOrDefault(answer) + 1;
        if (told.Code == Told.NothingSent) return;
        if (FirstStarted == 0 || told.StartedMicroseconds < FirstStarted) FirstStarted = told.StartedMicroseconds;
        if (told.IsAccepted) HearAcceptance(told);
        else if (told.IsUnknown) HearUnknown(told);
        else HearRefusal(told);
    }

    private void HearAcceptance(in Told told)
    {
        ref var key = ref CollectionsMarshal.GetValueRefOrAddDefault(_keys, (told.UserId, told.Key), out _);
        key.IsUnsettled = false;
        key.Refusal = null;
        if (!told.IsReplay && ++key.Originals == 2) Findings.Add("I5", $"2 answers to {told.UserId}, {told.Key} are not marked as replays");
        if (key.IsAccepted)
        {
            if (key.BodyHash != told.BodyHash) Findings.Add("I5", $"{told.UserId}, {told.Key} was given different answers: {key.OrderId}, then {told.OrderId}");
            return;
        }
        key = key with { IsAccepted = true, BodyHash = told.BodyHash, OrderId = told.OrderId, Sku = told.Sku, Quantity = told.Quantity, AcceptedEnded = told.EndedMicroseconds };
        Accepted++;
        JudgeAcceptance(told);
    }

    private void JudgeAcceptance(in Told told)
    {
        if (!_accepted.Add(told.OrderId)) Findings.Add("I4", $"{told.OrderId} was given to two keys, {told.UserId}, {told.Key} is one");
        var isOrder = _orders.TryGetValue(told.OrderId, out var order);
        if (isOrder && (order!.UserId, order.Key, order.Sku, order.Quantity) != (told.UserId, told.Key, told.Sku, told.Quantity)) Findings.Add("I3", $"{told} became {order}");
        if (!isOrder && !_deadLetters.Contains(told.OrderId))
        {
            if (MayBeLost(told.StartedMicroseconds)) Lost++;
            else Findings.Add("I3", $"{told.UserId} was told 202 with {told.OrderId}, which is not in Postgres");
        }
        if (order?.Status == "rejected" && !_loss.HasFlag(Loss.Rejections)) Findings.Add("I3", $"{told.UserId} was told 202 with {told.OrderId}, which was rejected");
        // Units that went back may be promised to another shopper. The same holds for units that a fault has cost.
        var isHeld = isOrder ? order!.IsLive || (order.Status == "rejected" && !_loss.HasFlag(Loss.Rejections)) : !MayBeLost(told.StartedMicroseconds);
        if (isHeld) CollectionsMarshal.GetValueRefOrAddDefault(_toldUnits, (told.UserId, told.Sku), out _) += told.Quantity;
    }

    private bool MayBeLost(long started) => _loss.HasFlag(Loss.Acceptances) && started <= _lossUntil;

    private void HearUnknown(in Told told)
    {
        ref var key = ref CollectionsMarshal.GetValueRefOrAddDefault(_keys, (told.UserId, told.Key), out _);
        key.WasUnknown = true;
        key.IsUnsettled = !key.IsAccepted;
        key.UnknownEnded = Math.Max(key.UnknownEnded, told.EndedMicroseconds);
    }

    private void HearRefusal(in Told told)
    {
        ref var key = ref CollectionsMarshal.GetValueRefOrNullRef(_keys, (told.UserId, told.Key));
        if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref key)) return;
        var isDecision = told.IsDecision;
        if (key.IsAccepted && told.StartedMicroseconds > key.AcceptedEnded && (_loss == Loss.None || key.AcceptedEnded > _lossUntil))
        {
            var isSame = (key.Sku, key.Quantity) == (told.Sku, told.Quantity);
            if (isDecision || (isSame && told.Code == "idempotency_key_reused"))
                Findings.Add("I5", $"{told.UserId}, {told.Key} was accepted as {key.OrderId} and then answered {told.Status} {told.Code}");
        }
        if (key.IsUnsettled && isDecision && told.StartedMicroseconds >= key.UnknownEnded)
        {
            key.IsUnsettled = false;
            key.Refusal = told.Code;
        }
    }

    private void JudgeUnknown()
    {
        foreach (var order in _view.Orders.Where(order => !_accepted.Contains(order.OrderId)))
        {
            var isKnown = _keys.TryGetValue((order.UserId, order.Key), out var key);
            if (!isKnown || !key.WasUnknown) Findings.Add("I7", $"{order} was sold to somebody who was told otherwise");
            // A sale that was closed or paused may have been opened again. But a sold-out item, or a shopper at the
            // limit, stays so unless units came back.
            else if (key.Refusal is "sold_out" or "purchase_limit_reached" && order.Status != "rejected") Findings.Add("I7", $"{order}: its unknown outcome was settled as {key.Refusal}");
        }
        Unsettled = _keys.Values.LongCount(key => key.IsUnsettled);
    }

    // This uses the answers alone. Shoppers may not be promised more units than there are, independently of the stores.
    private void JudgePromisedUnits()
    {
        var limits = _view.Items.ToDictionary(item => item.Sku, item => item.PerUserLimit, StringComparer.Ordinal);
        var promised = new Dictionary<string, long>(StringComparer.Ordinal);
        var ofSale = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (who, units) in _toldUnits)
        {
            CollectionsMarshal.GetValueRefOrAddDefault(promised, who.Sku, out _) += units;
            CollectionsMarshal.GetValueRefOrAddDefault(ofSale, who.UserId, out _) += units;
            if (units > limits.GetValueOrDefault(who.Sku)) Findings.Add("I4", $"{who.UserId} was promised {units} of {who.Sku}, the limit is {limits.GetValueOrDefault(who.Sku)}");
        }
        foreach (var (user, units) in ofSale)
        {
            if (units > _view.SaleLimit) Findings.Add("I4", $"{user} was promised {units}, the sale's limit is {_view.SaleLimit}");
        }
        foreach (var item in _view.Items)
        {
            if (promised.GetValueOrDefault(item.Sku) > item.Stock) Findings.Add("I1", $"{item.Sku}: {promised[item.Sku]} were promised, the stock is {item.Stock}");
        }
    }

    private static Dictionary<string, long> UnitsBySku(IEnumerable<(string Sku, int Quantity)> rows)
    {
        var units = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var (sku, quantity) in rows) CollectionsMarshal.GetValueRefOrAddDefault(units, sku, out _) += quantity;
        return units;
    }

    private static string Shortened(string text) => text.Length <= 1_000 ? text : text[..1_000] + "…";

    private record struct KeyState(
        bool IsAccepted, ulong BodyHash, Guid OrderId, string Sku, int Quantity, long AcceptedEnded, int Originals, bool WasUnknown, bool IsUnsettled, long UnknownEnded, string? Refusal);
}
