using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Payments;

/// <summary>
/// Asks the provider about payments of due orders for which no notice has come: before the order expires, and for a
/// while after. A payment that turns out to have succeeded is recorded as its notice would have been: it pays the
/// order, or is refunded where the order has ended. While the provider is away the questions stay due, and expiry waits
/// for it no longer than <see cref="OrderOptions.ProviderAnswerSeconds"/>. Several workers share the work.
/// </summary>
public sealed partial class PaymentCheckJob(
    PaymentChecks checks, PaymentNotices notices, PaymentProvider provider, PaymentCheckOptions options, OrderOptions orders, RefundOptions retries,
    PostgresPrimary primary, MigrateInBackground migrations, PaymentCheckMetrics metrics, TimeProvider time, ILogger<PaymentCheckJob> logger)
    : PeriodicJob(TimeSpan.FromSeconds(1), migrations, logger, primary)
{
    private const int Together = 8;
    private const int TurnsBetweenCounts = 5;

    // A webhook's id holds no dot, so no webhook has an id with this prefix.
    private const string IdPrefix = "check.";

    private int _turns;

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        if (_turns++ % TurnsBetweenCounts == 0)
        {
            var (unanswered, unmatched) = await checks.CountAsync(orders.Expiry.Grace, cancellation);
            metrics.Set(unanswered, unmatched);
        }
        // The job asks first about payments with an order that waits for the answer. Payments that a failed turn had
        // taken are due again after the lease.
        var asked = await AskAsync(first: true, options.PerSecond, cancellation);
        await AskAsync(first: false, options.PerSecond - asked, cancellation);
    }

    // The lease must cover the whole batch: the last payment waits until all before it have been asked about.
    private async Task<int> AskAsync(bool first, int limit, CancellationToken cancellation)
    {
        var due = await checks.TakeAsync(first, orders.Expiry.Grace, limit, provider.Longest * (limit / Together + 1), cancellation);
        await Parallel.ForEachAsync(due, new ParallelOptions { MaxDegreeOfParallelism = Together, CancellationToken = cancellation },
            async (payment, token) => await AskAsync(payment, token));
        return due.Count;
    }

    private async Task AskAsync(PaymentToCheck payment, CancellationToken cancellation)
    {
        try
        {
            var found = await provider.FindAsync(payment.PaymentId, cancellation);
            if (found is null or { Status: ProviderPaymentStatus.NotPaid })
            {
                var wait = options.WaitAfter(payment.Asks, payment.Since(time.GetUtcNow()));
                await checks.NotPaidAsync(payment.PaymentId, wait, found is null ? "The provider knows no such payment." : null, cancellation);
                metrics.Asked(found is null ? "unknown" : "not_paid");
                return;
            }
            await RecordAsync(payment, found, cancellation);
        }
        catch (PaymentProviderException e)
        {
            var wait = retries.WaitAfter(payment.Asks);
            await checks.PostponeAsync(payment.PaymentId, wait, e.Message, cancellation);
            metrics.Asked("failed");
            LogPostponed(payment.PaymentId, payment.OrderId, payment.Asks, wait.TotalSeconds, e.Message);
        }
    }

    private async Task RecordAsync(PaymentToCheck payment, ProviderPayment found, CancellationToken cancellation)
    {
        var isPaid = found.Status is ProviderPaymentStatus.Paid;
        var (type, text) = isPaid ? (PaymentNoticeType.Succeeded, "payment.succeeded") : (PaymentNoticeType.Refunded, "payment.refunded");
        var notice = new PaymentNotice($"{IdPrefix}{text[8..]}.{payment.PaymentId}", type, text, payment.OrderId, payment.PaymentId, found.Amount, found.Currency);
        var outcome = await notices.RecordAsync(notice, cancellation);
        switch (outcome)
        {
            case PaymentNoticeOutcome.Done or PaymentNoticeOutcome.Repeated:
                await checks.EndAsync(payment.PaymentId, null, cancellation);
                break;
            case PaymentNoticeOutcome.AmountMismatch:
                await notices.KeepMismatchAsync(notice, cancellation);
                await checks.EndAsync(payment.PaymentId, "The provider says another amount than the order's.", cancellation);
                break;
            case PaymentNoticeOutcome.Unmatched or PaymentNoticeOutcome.UnknownOrder or PaymentNoticeOutcome.PaymentOfOtherOrder:
                await checks.EndAsync(payment.PaymentId, $"What the provider said could not be taken: {outcome}.", cancellation);
                break;
            case PaymentNoticeOutcome.Busy:
                await checks.PostponeAsync(payment.PaymentId, retries.WaitAfter(payment.Asks), "The sale is being loaded.", cancellation);
                return;
        }
        metrics.Asked(isPaid ? "paid" : "refunded");
        LogFound(payment.PaymentId, payment.OrderId, text, outcome);
    }

    [LoggerMessage(2, LogLevel.Warning, "The provider had not told of payment {PaymentId} of order {OrderId}: asked, it says {Type}; {Outcome}")]
    private partial void LogFound(string paymentId, Guid orderId, string type, PaymentNoticeOutcome outcome);

    [LoggerMessage(3, LogLevel.Warning, "The provider did not say how payment {PaymentId} of order {OrderId} stands, question {Asks}, next in {Seconds:0} s: {Reason}")]
    private partial void LogPostponed(string paymentId, Guid orderId, int asks, double seconds, string reason);
}
