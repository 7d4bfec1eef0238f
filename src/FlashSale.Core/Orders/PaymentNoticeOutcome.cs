namespace FlashSale.Orders;

/// <summary>What became of a notice.</summary>
public enum PaymentNoticeOutcome
{
    /// <summary>Recorded, with all that follows from it.</summary>
    Done,

    /// <summary>The same notice had been recorded before: nothing changed.</summary>
    Repeated,

    /// <summary>Kept and shown to operators; nothing follows from it.</summary>
    Unmatched,

    /// <summary>Postgres has no such order (it may be in flight): nothing kept, the provider comes again.</summary>
    UnknownOrder,

    /// <summary>Not the order's amount or currency: nothing kept.</summary>
    AmountMismatch,

    /// <summary>The payment belongs to another order: nothing kept.</summary>
    PaymentOfOtherOrder,

    /// <summary>The order's sale is being loaded: nothing kept, the provider comes again.</summary>
    Busy,
}
