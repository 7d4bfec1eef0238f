using System.ComponentModel.DataAnnotations;

namespace FlashSale.Orders;

/// <summary>What shoppers may do with their orders, and when unpaid ones end. Section <c>Orders</c> of Api and Worker.</summary>
public sealed class OrderOptions
{
    /// <summary>Api: how many orders one shopper may cancel in one sale: whoever cancels to buy again keeps units from others.</summary>
    [Range(0, 1_000)]
    public int MaxCancellations { get; set; } = 3;

    /// <summary>
    /// Worker: how many orders of a sale one shopper may let expire; the units of further ones stay on the shopper's purchase
    /// limit, so that nobody keeps units from others by reserving them again and again. 0 is no bound.
    /// </summary>
    [Range(0, 1_000)]
    public int MaxExpirations { get; set; } = 3;

    /// <summary>Worker: how long after payBy an unpaid order is kept, in seconds: a payment begun in time may still be told.</summary>
    [Range(0, 3_600)]
    public int PaymentGraceSeconds { get; set; } = 5;

    /// <summary>
    /// Worker: how much longer, in seconds, an order with an open payment is kept while the provider does not answer what
    /// became of it. A payment that turns out later to have succeeded is refunded.
    /// </summary>
    [Range(0, 86_400)]
    public int ProviderAnswerSeconds { get; set; } = 60;

    /// <summary>When unpaid orders expire.</summary>
    public ExpiryRules Expiry => new(TimeSpan.FromSeconds(PaymentGraceSeconds), TimeSpan.FromSeconds(ProviderAnswerSeconds), MaxExpirations);

    /// <summary>How many event streams one shopper may have open on a node at once.</summary>
    [Range(1, 1_000)]
    public int StreamsPerUser { get; set; } = 8;
}
