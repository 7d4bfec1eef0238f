namespace FlashSale.Orders;

/// <summary>A reservation that no row may hold, and what became of it.</summary>
public sealed record DeadLetter(
    long DeadLetterId, string SaleId, Guid OrderId, byte[] Record, DateTime AcceptedAt, string Error, string? SqlState,
    string State, string? Reason, DateTime CreatedAt, DateTime? ResolvedAt);

/// <summary>How an operator's decision on a dead letter ended.</summary>
public enum DeadLetterOutcome
{
    /// <summary>Done.</summary>
    Resolved,

    /// <summary>There is no such dead letter.</summary>
    NotFound,

    /// <summary>It was decided before.</summary>
    AlreadyResolved,

    /// <summary>It still cannot be stored.</summary>
    StillRefused,
}
