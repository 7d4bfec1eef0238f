using System.ComponentModel.DataAnnotations;

namespace FlashSale.Orders;

/// <summary>
/// Bounds on the orders of shoppers, and the times after which unpaid orders end. Section <c>Orders</c> of Api and
/// Worker.
/// </summary>
public sealed class OrderOptions
{
    /// <summary>
    /// Api: the number of orders that one shopper may cancel in one sale. Shoppers that cancel and buy again and again
    /// would keep the units from others. 0 allows no cancellation.
    /// </summary>
    [Range(0, 1_000)]
    public int MaxCancellations { get; set; } = 3;

    /// <summary>
    /// Worker: the number of orders of a sale that one shopper may let expire. The units of further expired orders stay
    /// on the shopper's purchase limit, so that nobody keeps units from others by reserving them again and again. 0
    /// means no bound.
    /// </summary>
    [Range(0, 1_000)]
    public int MaxExpirations { get; set; } = 3;

    /// <summary>
    /// Worker: seconds that an unpaid order is kept after payBy, because the notice of a payment that began in time may
    /// still come.
    /// </summary>
    [Range(0, 3_600)]
    public int PaymentGraceSeconds { get; set; } = 5;

    /// <summary>
    /// Worker: further seconds that an order with an open payment is kept while the provider does not say how the
    /// payment stands. If the payment turns out later to have succeeded, it is refunded.
    /// </summary>
    [Range(0, 86_400)]
    public int ProviderAnswerSeconds { get; set; } = 60;

    /// <summary>The three settings of the Worker as the rules for expiry.</summary>
    public ExpiryRules Expiry => new(TimeSpan.FromSeconds(PaymentGraceSeconds), TimeSpan.FromSeconds(ProviderAnswerSeconds), MaxExpirations);

    /// <summary>Api: the number of event streams that one shopper may have open on a node at once.</summary>
    [Range(1, 1_000)]
    public int StreamsPerUser { get; set; } = 8;
}
