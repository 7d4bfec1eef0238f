using FlashSale.Stock;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>
/// A wish of a shopper. Its numbers are small, so that users, keys, tickets and last units collide all the time.
/// </summary>
public sealed record Wish(int User, int Key, int Item, int Quantity, Brought Ticket = Brought.Nothing, int TicketNumber = 0);

/// <summary>The ticket that a shopper brings along.</summary>
public enum Brought
{
    Nothing,
    Good,
    Forged,
    Expired,
    OfOtherEpoch,
}

/// <summary>One step of a history.</summary>
public abstract record Step
{
    /// <summary>Shoppers buy by one call of reserve.lua.</summary>
    public sealed record Buy(IReadOnlyList<Wish> Wishes, bool WithOldEpoch, bool TooLate) : Step;

    /// <summary>The status is set to live, paused or closed.</summary>
    public sealed record Turn(string Status) : Step;

    /// <summary>An order in flight is settled.</summary>
    public sealed record Settle(int Choice, Verdict Verdict) : Step;

    /// <summary>
    /// Redis loses all facts of an order in flight except its outbox entry, and its units are for sale again.
    /// </summary>
    public sealed record Forget(int Choice) : Step;

    /// <summary>An order that Redis had forgotten is settled after all.</summary>
    public sealed record SettleForgotten(int Choice, Verdict Verdict) : Step;

    /// <summary>
    /// The units of a stored order come back, whether it is settled or in flight. All earlier returns are repeated.
    /// </summary>
    public sealed record Return(int Choice, bool WithOldEpoch) : Step;

    /// <summary>The sale is loaded anew, with the same facts under the next epoch.</summary>
    public sealed record NextEpoch : Step;

    /// <summary>Redis was started anew. It is verified, or not verified yet.</summary>
    public sealed record Verified(bool Is) : Step;
}

/// <summary>The expected answer to one wish.</summary>
/// <param name="Code">The code of the decision.</param>
/// <param name="OrderId">The order of an acceptance or replay.</param>
public sealed record Expected(ReserveCode Code, Guid OrderId);

/// <summary>
/// The sale as plain dictionaries. It says a second time, without Redis, bytes, buckets or batches, how reserve.lua,
/// settle.lua and release.lua must decide.
/// </summary>
public sealed class SaleModel(bool requiresTicket = false)
{
    public const int Users = 4;
    public const int Keys = 6;
    public const int Items = 3;
    public const int Tickets = 3;
    public const int SaleLimit = 5;

    public static readonly int[] ItemLimits = [2, 3, 4];

    private readonly Dictionary<(int User, int Key), (Guid OrderId, int Item, int Quantity)> _idempotency = [];
    private readonly HashSet<(int User, int Number)> _burnt = [];
    private readonly HashSet<Guid> _stored = [];
    private readonly HashSet<Guid> _duplicates = [];

    public string Status { get; private set; } = "live";

    public bool IsVerified { get; private set; } = true;

    public long Epoch { get; private set; } = 1;

    public int[] Remaining { get; } = [3, 6, 9];

    public Dictionary<(int User, int Item), int> Bought { get; } = [];

    public List<(Guid OrderId, Wish Wish)> InFlight { get; } = [];

    /// <summary>Orders in flight or live, which hold units that may come back.</summary>
    public List<(Guid OrderId, Wish Wish)> Held { get; } = [];

    /// <summary>The held orders that Postgres may have stored.</summary>
    public List<(Guid OrderId, Wish Wish)> Returnable => [.. Held.Where(order => !_duplicates.Contains(order.OrderId))];

    /// <summary>Orders with returned units, and the epoch of each return.</summary>
    public List<(Guid OrderId, long Epoch)> Returned { get; } = [];

    /// <summary>Orders that Redis has forgotten and Postgres will judge.</summary>
    public List<(Guid OrderId, Wish Wish)> Forgotten { get; } = [];

    /// <summary>Units that a forgotten order could not take.</summary>
    public int[] Owed { get; } = new int[Items];

    public int Accepted { get; private set; }

    /// <summary>The number of entries in the log of buyers.</summary>
    public int Buyers { get; private set; }

    public Expected Decide(Wish wish, Guid orderId, bool withOldEpoch, bool tooLate)
    {
        if (_idempotency.TryGetValue((wish.User, wish.Key), out var known))
            return known.Item == wish.Item && known.Quantity == wish.Quantity ? new(ReserveCode.Replay, known.OrderId) : new(ReserveCode.KeyReused, default);
        var code = Refusal(wish, withOldEpoch, tooLate);
        if (code is not null) return new(code.Value, default);

        Remaining[wish.Item] -= wish.Quantity;
        Count(wish, wish.Quantity);
        if (requiresTicket) _burnt.Add((wish.User, wish.TicketNumber));
        _idempotency.Add((wish.User, wish.Key), (orderId, wish.Item, wish.Quantity));
        InFlight.Add((orderId, wish));
        Held.Add((orderId, wish));
        Accepted++;
        Buyers++;
        return new(Remaining[wish.Item] == 0 ? ReserveCode.AcceptedLast : ReserveCode.Accepted, orderId);
    }

    public void Turn(string status) => Status = status;

    public void Verify(bool verified) => IsVerified = verified;

    public bool RequiresTicket => requiresTicket;

    public int Burnt => _burnt.Count;

    // The tickets of an epoch end with it, so Redis need not know the burnt ones any longer.
    public void RaiseEpoch()
    {
        Epoch++;
        _burnt.Clear();
        Array.Clear(Owed);
    }

    /// <returns>The verdict. An order with returned units can only have been stored.</returns>
    public Verdict Settle(int index, Verdict verdict)
    {
        var order = InFlight[index];
        InFlight.RemoveAt(index);
        if (!Held.Contains(order)) return Verdict.Live;
        if (_duplicates.Contains(order.OrderId)) verdict = Verdict.Rejected;
        if (verdict is Verdict.Live) _stored.Add(order.OrderId);
        if (verdict is Verdict.Live) return verdict;
        PutBack(order.Wish);
        Held.Remove(order);
        Count(order.Wish, -order.Wish.Quantity);
        return verdict;
    }

    /// <returns>Whether the order was in flight and held units.</returns>
    public bool Forget(int index)
    {
        var order = InFlight[index];
        if (_duplicates.Contains(order.OrderId) || !Held.Remove(order)) return false;
        InFlight.RemoveAt(index);
        Forgotten.Add(order);
        _idempotency.Remove((order.Wish.User, order.Wish.Key));
        Remaining[order.Wish.Item] += order.Wish.Quantity;
        Count(order.Wish, -order.Wish.Quantity);
        return true;
    }

    /// <summary>
    /// A key has one order in Postgres. If the key has bought again meanwhile, the order that is stored first makes the
    /// other one its duplicate.
    /// </summary>
    /// <returns>The verdict.</returns>
    public Verdict SettleForgotten(int index, Verdict verdict)
    {
        var (orderId, wish) = Forgotten[index];
        Forgotten.RemoveAt(index);
        var isKnown = _idempotency.TryGetValue((wish.User, wish.Key), out var other);
        if (isKnown && _stored.Contains(other.OrderId)) verdict = Verdict.Rejected;
        if (isKnown && verdict is not Verdict.Live) return verdict;
        if (isKnown) _duplicates.Add(other.OrderId);
        _idempotency[(wish.User, wish.Key)] = (orderId, wish.Item, wish.Quantity);
        Buyers++;
        if (verdict is not Verdict.Live) return verdict;
        _stored.Add(orderId);
        var taken = Math.Min(Remaining[wish.Item], wish.Quantity);
        Remaining[wish.Item] -= taken;
        Owed[wish.Item] += wish.Quantity - taken;
        Count(wish, wish.Quantity);
        Held.Add((orderId, wish));
        return verdict;
    }

    /// <returns>Whether Redis takes the return.</returns>
    public bool Return(int index, bool withOldEpoch)
    {
        if (!IsVerified || withOldEpoch) return false;
        var (orderId, wish) = Returnable[index];
        Held.Remove((orderId, wish));
        _stored.Add(orderId);
        Returned.Add((orderId, Epoch));
        PutBack(wish);
        Count(wish, -wish.Quantity);
        return true;
    }

    public int UnitsOf(int user) => Enumerable.Range(0, Items).Sum(item => Bought.GetValueOrDefault((user, item)));

    private ReserveCode? Refusal(Wish wish, bool withOldEpoch, bool tooLate) =>
        !IsVerified ? ReserveCode.NotVerified
        : withOldEpoch ? ReserveCode.OtherEpoch
        : tooLate ? ReserveCode.TooLate
        : Status == "paused" ? ReserveCode.Paused
        : Status == "closed" ? ReserveCode.Closed
        : requiresTicket && wish.Ticket is Brought.Nothing ? ReserveCode.TicketMissing
        : requiresTicket && (wish.Ticket is not Brought.Good || _burnt.Contains((wish.User, wish.TicketNumber))) ? ReserveCode.TicketInvalid
        : Bought.GetValueOrDefault((wish.User, wish.Item)) + wish.Quantity > ItemLimits[wish.Item] || UnitsOf(wish.User) + wish.Quantity > SaleLimit ? ReserveCode.LimitReached
        : Remaining[wish.Item] == 0 ? ReserveCode.SoldOut
        : Remaining[wish.Item] < wish.Quantity ? ReserveCode.FewerLeft
        : null;

    private void PutBack(Wish wish)
    {
        var paid = Math.Min(Owed[wish.Item], wish.Quantity);
        Owed[wish.Item] -= paid;
        Remaining[wish.Item] += wish.Quantity - paid;
    }

    private void Count(Wish wish, int quantity) => Bought[(wish.User, wish.Item)] = Bought.GetValueOrDefault((wish.User, wish.Item)) + quantity;
}
