using FlashSale.Stock;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>An order of a lane and its fate.</summary>
public sealed class LaneOrder(Guid id, Wish wish)
{
    public Guid Id => id;

    public Wish Wish => wish;

    /// <summary>The verdict that settled the order, or null while it is in flight.</summary>
    public Verdict? Verdict { get; set; }

    /// <summary>The epoch under which its units came back.</summary>
    public long? ReturnedUnder { get; set; }

    public bool HoldsUnits => Verdict is null or FlashSale.Stock.Verdict.Live && ReturnedUnder is null;
}

/// <summary>
/// One of many lanes that drive a sale of one item at once. A lane buys, settles and returns its own orders, and pauses
/// and closes the sale for all lanes. The first lane raises the epoch as well.
/// </summary>
public sealed class SaleLane(ScriptedSale sale, int number, int users)
{
    private const int KeysPerUser = 12;

    private readonly Random _random = new(number);

    public List<(Wish Wish, Guid Id, ReserveDecision Decision)> Answers { get; } = [];

    public List<LaneOrder> Orders { get; } = [];

    public async Task RunAsync(int calls)
    {
        for (var call = 0; call < calls; call++)
        {
            await BuyAsync();
            var status = (call % 20) switch { 3 => "paused", 13 => "closed", 5 or 15 => "live", _ => null };
            if (status is not null) await sale.TurnAsync(status);
            // All lanes end within about the time that returned units rest, so a lane ends the rest early.
            if (call % 5 == 0) await sale.LetRestAsync();
            if (number == 0 && call % 10 == 7) await sale.RaiseEpochAsync();
            if (Orders.Count == 0) continue;
            if (_random.Next(3) == 0) await SettleAsync(Orders[_random.Next(Orders.Count)]);
            if (_random.Next(3) == 0) await ReturnAsync(Orders[_random.Next(Orders.Count)]);
        }
    }

    private async Task BuyAsync()
    {
        var wishes = Enumerable.Range(0, _random.Next(1, 9)).Select(_ => new Wish(_random.Next(users), _random.Next(KeysPerUser), 0, _random.Next(1, 3))).ToList();
        var ids = wishes.Select(ScriptedSale.NewOrderId).ToList();
        var decisions = await sale.BuyAsync(wishes, ids, withOldEpoch: _random.Next(12) == 0);
        for (var i = 0; i < decisions.Length; i++)
        {
            Answers.Add((wishes[i], ids[i], decisions[i]));
            if (decisions[i].Code is ReserveCode.Accepted or ReserveCode.AcceptedLast) Orders.Add(new(ids[i], wishes[i]));
        }
    }

    // An order may be settled again, with the same verdict. An order with returned units was stored, so it is live.
    private async Task SettleAsync(LaneOrder order)
    {
        order.Verdict ??= order.ReturnedUnder is not null || _random.Next(2) == 0 ? Verdict.Live : Verdict.Rejected;
        await sale.SettleAsync(order.Id, order.Verdict.Value);
    }

    // Returns the units twice at once, and maybe again later, under the epoch of the first time. A return that one
    // epoch refused may come under the next.
    private async Task ReturnAsync(LaneOrder order)
    {
        if (order.Verdict is Verdict.Rejected) return;
        var epoch = order.ReturnedUnder ?? sale.Epoch;
        var taken = await Task.WhenAll(sale.ReturnAsync(order.Id, epoch), sale.ReturnAsync(order.Id, epoch));
        if (taken.Contains(true)) order.ReturnedUnder = epoch;
    }
}
