using System.Diagnostics.Metrics;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Orders;

/// <summary>
/// Expires orders that were not paid in time: payBy, which counts from the moment when Postgres stored the order, and a
/// grace. An order with an open payment waits for the provider's word, and for a
/// provider that is away no longer than its patience. Batches are one transaction each, and skip what other workers are at.
/// </summary>
public sealed class ExpiryJob(OrderMoves moves, OrderOptions options, MigrateInBackground migrations, ILogger<ExpiryJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(500), migrations, logger)
{
    private const int OrdersPerBatch = 2_000;

    private static readonly Meter Meter = new("FlashSale.Orders");
    private static readonly Counter<long> Expired = Meter.CreateCounter<long>("flashsale_orders_expired_total", description: "Orders that were not paid in time.");

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        foreach (var (saleId, number) in await moves.SalesWithDueOrdersAsync(options.Expiry.Grace, cancellation))
        {
            for (var expired = OrdersPerBatch; expired == OrdersPerBatch;)
            {
                expired = await moves.ExpireAsync(saleId, number, options.Expiry, OrdersPerBatch, cancellation);
                Expired.Add(expired);
            }
        }
    }
}
