using System.Diagnostics.Metrics;

namespace FlashSale.Api.Purchase;

/// <summary>Counts purchases by their result. Nothing is logged per purchase.</summary>
public sealed class PurchaseMetrics
{
    private static readonly Meter Meter = new("FlashSale.Api");

    private readonly Counter<long> _purchases = Meter.CreateCounter<long>("flashsale_purchases_total", description: "Purchases answered, by result.");

    /// <summary>Counts a 202.</summary>
    public void Accepted(bool replayed) => _purchases.Add(1, new KeyValuePair<string, object?>("result", replayed ? "replayed" : "accepted"));

    /// <summary>Counts any other answer by its problem code.</summary>
    public void Refused(string code) => _purchases.Add(1, new KeyValuePair<string, object?>("result", code));
}
