namespace FlashSale.Orders;

/// <summary>The result of recording a notice.</summary>
public enum PaymentNoticeOutcome
{
    /// <summary>The notice is committed together with everything that follows from it.</summary>
    Done,

    /// <summary>The same notice had been recorded before, so nothing changed.</summary>
    Repeated,

    /// <summary>The notice is kept and shown to operators. Nothing follows from it.</summary>
    Unmatched,

    /// <summary>
    /// Postgres has no such order, which may still be in flight. Nothing was kept, so the provider must send the notice
    /// again.
    /// </summary>
    UnknownOrder,

    /// <summary>The amount or currency is not the order's. Nothing was kept.</summary>
    AmountMismatch,

    /// <summary>The payment belongs to another order. Nothing was kept.</summary>
    PaymentOfOtherOrder,

    /// <summary>
    /// The order's sale is being loaded. Nothing was kept, so the provider must send the notice again.
    /// </summary>
    Busy,
}
