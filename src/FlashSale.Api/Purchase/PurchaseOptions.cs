using System.ComponentModel.DataAnnotations;

namespace FlashSale.Api.Purchase;

/// <summary>Settings of the purchase path. Section <c>Purchase</c>.</summary>
public sealed class PurchaseOptions
{
    /// <summary>
    /// How long a call of reserve.lua may take, in milliseconds. The script sells nothing to shoppers that waited
    /// longer. With Redis gone or frozen this bounds how long a shopper waits for a 503.
    /// </summary>
    [Range(20, 10_000)]
    public int DeadlineMilliseconds { get; set; } = 200;

    /// <summary><see cref="DeadlineMilliseconds"/> as a time span.</summary>
    public TimeSpan Deadline => TimeSpan.FromMilliseconds(DeadlineMilliseconds);

    /// <summary>Most purchases that share one call of reserve.lua.</summary>
    [Range(1, 256)]
    public int MaxBatch { get; set; } = 64;
}
