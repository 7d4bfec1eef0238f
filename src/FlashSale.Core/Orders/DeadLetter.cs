namespace FlashSale.Orders;

/// <summary>A reservation that Postgres can never store as an order, and the operator's decision about it.</summary>
public sealed record DeadLetter(
    long DeadLetterId, string SaleId, Guid OrderId, byte[] Record, DateTime AcceptedAt, string Error, string? SqlState,
    string State, string? Reason, DateTime CreatedAt, DateTime? ResolvedAt);

/// <summary>The outcome of an operator's decision on a dead letter.</summary>
public enum DeadLetterOutcome
{
    /// <summary>The decision is committed in Postgres. Redis may learn of it later.</summary>
    Resolved,

    /// <summary>No dead letter has this id.</summary>
    NotFound,

    /// <summary>An operator decided this letter before. Nothing changed.</summary>
    AlreadyResolved,

    /// <summary>A retry failed: Postgres still cannot store the reservation. The letter stays open.</summary>
    StillRefused,
}
