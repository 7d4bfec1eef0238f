namespace FlashSale.Orders;

/// <summary>The state of a payment at the provider.</summary>
public enum ProviderPaymentStatus
{
    /// <summary>No money was paid, or not yet.</summary>
    NotPaid,

    /// <summary>The provider has the money.</summary>
    Paid,

    /// <summary>The provider gave the money back, or is doing so.</summary>
    Refunded,
}

/// <summary>The provider's answer about a payment.</summary>
/// <param name="Status">The state of the payment.</param>
/// <param name="Amount">Minor units of <paramref name="Currency"/>.</param>
/// <param name="Currency">ISO 4217 code.</param>
public sealed record ProviderPayment(ProviderPaymentStatus Status, long Amount, string Currency);

/// <summary>The provider's answer to a request for a new payment.</summary>
/// <param name="PaymentId">The provider's id of the payment, 1 to 128 visible ASCII characters.</param>
/// <param name="PaymentUrl">The page on which the shopper pays: an absolute http or https address.</param>
public sealed record CreatedPayment(string PaymentId, string PaymentUrl);
