namespace FlashSale.Orders;

/// <summary>The provider did not do what it was asked, or it is not known whether it did. To ask again with the same key is safe.</summary>
/// <param name="message">What happened.</param>
/// <param name="isTransient">Whether the same request may succeed later; false when the provider refuses it as it is.</param>
/// <param name="inner">The cause.</param>
public sealed class PaymentProviderException(string message, bool isTransient, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether the same request may succeed later.</summary>
    public bool IsTransient => isTransient;

    /// <summary>The provider's status where it refused the request as it is, and so has done nothing; else 0.</summary>
    public int RefusedWith { get; init; }
}
