namespace FlashSale.Orders;

/// <summary>How a payment stands at the provider.</summary>
public enum ProviderPaymentStatus
{
    /// <summary>Nothing was paid, or not yet.</summary>
    NotPaid,

    /// <summary>The money is there.</summary>
    Paid,

    /// <summary>The money was given back.</summary>
    Refunded,
}

/// <summary>A payment as the provider tells of it.</summary>
/// <param name="Status">How it stands.</param>
/// <param name="Amount">Minor units.</param>
/// <param name="Currency">ISO 4217.</param>
public sealed record ProviderPayment(ProviderPaymentStatus Status, long Amount, string Currency);

/// <summary>A payment as the provider made it.</summary>
/// <param name="PaymentId">The provider's, 1 to 128 visible ASCII characters.</param>
/// <param name="PaymentUrl">Where the shopper pays: an absolute http or https address.</param>
public sealed record CreatedPayment(string PaymentId, string PaymentUrl);
