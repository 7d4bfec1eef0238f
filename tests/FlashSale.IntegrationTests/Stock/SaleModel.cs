using FlashSale.Stock;

namespace FlashSale.IntegrationTests.Stock;

/// <summary>What a shopper asks for; small numbers, so that users, keys, tickets and last units collide all the time.</summary>
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
    /// <summary>A call of reserve.lua.</summary>
    public sealed record Buy(IReadOnlyList<Wish> Wishes, bool WithOldEpoch, bool TooLate) : Step;

    /// <summary>The status is set to live, paused or closed.</summary>
    public sealed record Turn(string Status) : Step;

    /// <summary>An order in flight is settled.</summary>
    public sealed record Settle(int Choice, Verdict Verdict) : Step;

    /// <summary>The units of a stored order come back, be it settled or in flight still; and all that came back before does so again.</summary>
    public sealed record Return(int Choice, bool WithOldEpoch) : Step;

    /// <summary>The sale is loaded anew: the same facts under the next epoch.</summary>
    public sealed record NextEpoch : Step;

    /// <summary>Redis was started anew and is verified, or is not yet.</summary>
    public sealed record Verified(bool Is) : Step;
}

/// <summary>What is expected of one wish.</summary>
/// <param name="Code">The code.</param>
/// <param name="OrderId">The order of an acceptance or replay.</param>
public sealed record Expected(ReserveCode Code, Guid OrderId);

/// <summary>
/// The sale as plain dictionaries: what reserve.lua, settle.lua and release.lua must do, said a second time, without Redis, bytes,
/// buckets or batches.
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

    public string Status { get; private set; } = "live";

    public bool IsVerified { get; private set; } = true;

    public long Epoch { get; private set; } = 1;

    public int[] Remaining { get; } = [3, 6, 9];

    public Dictionary<(int User, int Item), int> Bought { get; } = [];

    public List<(Guid OrderId, Wish Wish)> InFlight { get; } = [];

    /// <summary>Orders that hold units which may come back: in flight or live.</summary>
    public List<(Guid OrderId, Wish Wish)> Held { get; } = [];

    /// <summary>What came back, and under which epoch.</summary>
    public List<(Guid OrderId, long Epoch)> Returned { get; } = [];

    public int Accepted { get; private set; }

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
        return new(Remaining[wish.Item] == 0 ? ReserveCode.AcceptedLast : ReserveCode.Accepted, orderId);
    }

    public void Turn(string status) => Status = status;

    public void Verify(bool verified) => IsVerified = verified;

    public bool RequiresTicket => requiresTicket;

    public int Burnt => _burnt.Count;

    // The tickets of an epoch end with it, so it need not be known any longer which were used.
    public void RaiseEpoch()
    {
        Epoch++;
        _burnt.Clear();
    }

    /// <returns>The verdict; of an order whose units came back it can only be that it was stored.</returns>
    public Verdict Settle(int index, Verdict verdict)
    {
        var order = InFlight[index];
        InFlight.RemoveAt(index);
        if (!Held.Contains(order)) return Verdict.Live;
        if (verdict is Verdict.Rejected) Remaining[order.Wish.Item] += order.Wish.Quantity;
        if (verdict is not Verdict.Live)
        {
            Held.Remove(order);
            Count(order.Wish, -order.Wish.Quantity);
        }
        return verdict;
    }

    /// <returns>Whether Redis takes it.</returns>
    public bool Return(int index, bool withOldEpoch)
    {
        if (!IsVerified || withOldEpoch) return false;
        var (orderId, wish) = Held[index];
        Held.RemoveAt(index);
        Returned.Add((orderId, Epoch));
        Remaining[wish.Item] += wish.Quantity;
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

    private void Count(Wish wish, int quantity) => Bought[(wish.User, wish.Item)] = Bought.GetValueOrDefault((wish.User, wish.Item)) + quantity;
}
