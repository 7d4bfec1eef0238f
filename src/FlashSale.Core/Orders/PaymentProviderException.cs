namespace FlashSale.Orders;

/// <summary>
/// The provider did not do the thing it was asked for, or it is unknown whether it did. Asking again with the same key
/// is safe.
/// </summary>
/// <param name="message">The failure, for logs and for the record of the payment or refund.</param>
/// <param name="isTransient">
/// Whether the same request may succeed later. False when the provider refuses it as it is.
/// </param>
/// <param name="inner">The cause.</param>
public sealed class PaymentProviderException(string message, bool isTransient, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether the same request may succeed later.</summary>
    public bool IsTransient => isTransient;

    /// <summary>
    /// The HTTP status with which the provider refused the request as it is. It has done nothing then. 0 in all other
    /// cases.
    /// </summary>
    public int RefusedWith { get; init; }
}
