using System.Diagnostics.Metrics;

namespace FlashSale.Worker.Payments;

/// <summary>Metrics of the questions to the provider about payments.</summary>
public sealed class PaymentCheckMetrics
{
    private static readonly Meter Meter = new("FlashSale.PaymentChecks");

    private readonly Counter<long> _asked = Meter.CreateCounter<long>(
        "flashsale_payment_checks_total", description: "Times the provider was asked how a payment stands, by what followed.");

    private long _unanswered;
    private long _unmatched;

    /// <summary>Registers the gauges, which show the values last given to <see cref="Set"/>.</summary>
    public PaymentCheckMetrics()
    {
        Meter.CreateObservableGauge("flashsale_payments_unanswered", () => Interlocked.Read(ref _unanswered),
            description: "Payments of orders that are due of which the provider has not said what became of them, of all workers.");
        Meter.CreateObservableGauge("flashsale_payments_unmatched", () => Interlocked.Read(ref _unmatched),
            description: "Notices of the provider that were kept and from which nothing could follow.");
    }

    /// <summary>Counts a question by its answer: paid, refunded, not_paid, unknown or failed.</summary>
    public void Asked(string answer) => _asked.Add(1, KeyValuePair.Create<string, object?>("answer", answer));

    /// <summary>Sets the gauges, which count over all workers.</summary>
    public void Set(long unanswered, long unmatched)
    {
        Interlocked.Exchange(ref _unanswered, unanswered);
        Interlocked.Exchange(ref _unmatched, unmatched);
    }
}
