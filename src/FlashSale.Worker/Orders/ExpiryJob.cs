using System.Diagnostics.Metrics;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Orders;

/// <summary>
/// Expires orders that were not paid by payBy and a grace after it. payBy counts from the moment when Postgres stored
/// the order. An order with an open payment waits for the provider's answer, but for a provider that is away no longer
/// than <see cref="OrderOptions.ProviderAnswerSeconds"/>. Each batch is one transaction, and skips orders that other
/// workers are expiring.
/// </summary>
public sealed partial class ExpiryJob(OrderMoves moves, OrderOptions options, PostgresPrimary primary, MigrateInBackground migrations, ILogger<ExpiryJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(500), migrations, logger, primary)
{
    private const int OrdersPerBatch = 2_000;
    private const int SalesAtATime = 2;

    private static readonly Meter Meter = new("FlashSale.Orders");
    private static readonly Counter<long> Expired = Meter.CreateCounter<long>("flashsale_orders_expired_total", description: "Orders that were not paid in time.");

    private readonly SaleQueue _queue = new(SalesAtATime);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation) =>
        _queue.Offer((await moves.SalesWithDueOrdersAsync(options.Expiry.Grace, cancellation)).Select(sale => new SaleWork(sale.SaleId, sale.HasEnded, () => ExpireAsync(sale, cancellation))));

    private async Task ExpireAsync(SaleWithDueOrders sale, CancellationToken cancellation)
    {
        try
        {
            for (var expired = OrdersPerBatch; expired == OrdersPerBatch;)
            {
                expired = await moves.ExpireAsync(sale.SaleId, sale.Number, options.Expiry, OrdersPerBatch, cancellation);
                Expired.Add(expired);
            }
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested)
        {
            if (!Stores.IsAway(e)) LogFailed(sale.SaleId, e);
        }
        catch (OperationCanceledException)
        {
            // The host is stopping.
        }
    }

    [LoggerMessage(1, LogLevel.Error, "Orders of sale {SaleId} cannot be expired; it is tried again")]
    private partial void LogFailed(string saleId, Exception e);
}
