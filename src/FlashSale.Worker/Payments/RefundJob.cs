using System.Diagnostics.Metrics;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Payments;

/// <summary>
/// Asks the provider for every due refund, with growing waits between the attempts, until the refund is confirmed by
/// the provider's answer or by its webhook. The job never gives up, since the money is the shopper's. Several workers
/// share the work.
/// </summary>
public sealed partial class RefundJob(
    Refunds refunds, PaymentProvider provider, RefundOptions options, PostgresPrimary primary, MigrateInBackground migrations, RefundMetrics metrics,
    ILogger<RefundJob> logger) : PeriodicJob(TimeSpan.FromMilliseconds(500), migrations, logger, primary)
{
    private const int Batch = 16;
    private const int Together = 4;
    private const int TurnsBetweenCounts = 10;

    private int _turns;

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        // Refunds that a failed turn had taken are due again after the lease.
        while (await AskAsync(cancellation) == Batch)
        {
        }
        if (_turns++ % TurnsBetweenCounts == 0) metrics.Due = await refunds.CountAsync(cancellation);
    }

    // The lease must cover the whole batch: the last refund waits until all before it have been asked for.
    private async Task<int> AskAsync(CancellationToken cancellation)
    {
        var due = await refunds.TakeAsync(Batch, provider.Longest * (Batch / Together + 1), cancellation);
        await Parallel.ForEachAsync(due, new ParallelOptions { MaxDegreeOfParallelism = Together, CancellationToken = cancellation },
            async (refund, token) => await AskAsync(refund, token));
        return due.Count;
    }

    private async Task AskAsync(DueRefund refund, CancellationToken cancellation)
    {
        var wait = options.WaitAfter(refund.Attempts);
        try
        {
            if (await provider.RefundAsync(refund.PaymentId, refund.OrderId, refund.Reason, refund.Refusals, cancellation))
            {
                await refunds.ConfirmAsync(refund.PaymentId, cancellation);
                LogRefunded(refund.PaymentId, refund.OrderId);
                metrics.Asked("refunded");
                return;
            }
            await refunds.PostponeAsync(refund.PaymentId, wait, null, refused: false, cancellation);
            metrics.Asked("pending");
        }
        catch (PaymentProviderException e)
        {
            await refunds.PostponeAsync(refund.PaymentId, wait, e.Message, refused: e.RefusedWith > 0, cancellation);
            metrics.Asked("failed");
            LogPostponed(refund.PaymentId, refund.OrderId, refund.Attempts, wait.TotalSeconds, e.Message);
        }
    }

    [LoggerMessage(2, LogLevel.Information, "Payment {PaymentId} of order {OrderId} was refunded")]
    private partial void LogRefunded(string paymentId, Guid orderId);

    [LoggerMessage(3, LogLevel.Warning, "Payment {PaymentId} of order {OrderId} could not be refunded at attempt {Attempt}, next in {Seconds:0} s: {Reason}")]
    private partial void LogPostponed(string paymentId, Guid orderId, int attempt, double seconds, string reason);
}

/// <summary>Metrics of refunds.</summary>
public sealed class RefundMetrics
{
    private static readonly Meter Meter = new("FlashSale.Refunds");

    private readonly Counter<long> _asked = Meter.CreateCounter<long>("flashsale_refund_requests_total", description: "Times the provider was asked for a refund, by its answer.");
    private long _due;

    /// <summary>Registers the gauge, which shows <see cref="Due"/>.</summary>
    public RefundMetrics() => Meter.CreateObservableGauge("flashsale_refunds_due", () => Due, description: "Refunds that the provider has not confirmed yet, of all workers.");

    /// <summary>How many refunds the provider has not confirmed yet, over all workers.</summary>
    public long Due
    {
        get => Interlocked.Read(ref _due);
        set => Interlocked.Exchange(ref _due, value);
    }

    /// <summary>Counts a request for a refund by its answer: refunded, pending or failed.</summary>
    public void Asked(string answer) => _asked.Add(1, KeyValuePair.Create<string, object?>("answer", answer));
}
