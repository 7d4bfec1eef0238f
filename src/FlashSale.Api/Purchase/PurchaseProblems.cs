using FlashSale.Platform;
using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>The only place that turns a refused purchase into HTTP.</summary>
public static class PurchaseProblems
{
    public static readonly Problem UserBlocked = new(403, "user_blocked", "You may not buy here.");
    public static readonly Problem SaleNotFound = new(404, "sale_not_found", "There is no such sale.");
    public static readonly Problem ItemNotFound = new(404, "item_not_found", "The sale has no such item.");
    public static readonly Problem SoldOut = new(409, "sold_out", "There are not that many units left.");
    public static readonly Problem LimitReached = new(409, "purchase_limit_reached", "You would exceed the number of units that one shopper may buy.");
    public static readonly Problem SaleClosed = new(409, "sale_closed", "The sale is over.");
    public static readonly Problem SalePaused = new(409, "sale_paused", "The sale is paused.");
    public static readonly Problem TicketRequired = new(403, "ticket_required", "This sale requires a ticket: ask for admission first.");
    public static readonly Problem TicketInvalid = new(403, "ticket_invalid", "The ticket is not valid, has expired or was used. Ask for admission again.");
    public static readonly Problem KeyReused = new(422, "idempotency_key_reused", "This Idempotency-Key was used for another purchase.");
    public static readonly Problem SaleNotOpen = new(425, "sale_not_open", "The sale is not open yet.");
    public static readonly Problem OutcomeUnknown = new(503, "outcome_unknown", "The purchase may have been accepted. Repeat it with the same Idempotency-Key.");
    public static readonly Problem TemporarilyUnavailable = new(503, "temporarily_unavailable", "Purchases cannot be taken right now. Nothing was bought.");
    public static readonly Problem Suspended = new(503, "purchases_suspended", "Purchases are suspended for now. Nothing was bought.");

    /// <summary>The problem of a decision. Null when it is an acceptance or a replay.</summary>
    public static Problem? Of(ReserveCode code) => code switch
    {
        ReserveCode.Accepted or ReserveCode.AcceptedLast or ReserveCode.Replay => null,
        ReserveCode.KeyReused => KeyReused,
        ReserveCode.NotLoaded or ReserveCode.NotVerified or ReserveCode.OtherEpoch or ReserveCode.TooLate => TemporarilyUnavailable,
        ReserveCode.Paused => SalePaused,
        ReserveCode.NotOpen => SaleNotOpen,
        ReserveCode.Closed => SaleClosed,
        ReserveCode.TicketMissing => TicketRequired,
        ReserveCode.TicketInvalid => TicketInvalid,
        ReserveCode.LimitReached => LimitReached,
        ReserveCode.SoldOut or ReserveCode.FewerLeft or ReserveCode.Resting => SoldOut,
    };

    /// <summary>
    /// Seconds to the opening, rounded up and at least one. Both times are Unix milliseconds of Redis TIME.
    /// </summary>
    public static int SecondsToOpening(long opensAt, long redisNow) => (int)Math.Clamp((opensAt - redisNow + 999) / 1000, 1, int.MaxValue);
}
