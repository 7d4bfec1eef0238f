using System.Diagnostics.Metrics;
using FlashSale.Platform;
using FlashSale.Stock;

namespace FlashSale.Worker.Orders;

/// <summary>
/// Carries returned units back to Redis, ten times a second, so that another shopper can buy them within one second.
/// </summary>
public sealed partial class StockReturnJob(StockReturns returns, PostgresPrimary primary, MigrateInBackground migrations, ILogger<StockReturnJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(100), migrations, logger, primary)
{
    private const int SalesAtATime = 2;

    private static readonly Meter Meter = new("FlashSale.Stock");
    private static readonly Counter<long> Returned = Meter.CreateCounter<long>("flashsale_stock_returns_total", description: "Orders whose units went back to Redis.");

    private readonly SaleQueue _queue = new(SalesAtATime);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation) =>
        _queue.Offer((await returns.SalesAsync(cancellation)).Select(sale => new SaleWork(sale.SaleId, sale.HasEnded, () => ApplyAsync(sale.SaleId, cancellation))));

    private async Task ApplyAsync(string saleId, CancellationToken cancellation)
    {
        try
        {
            Returned.Add(await returns.ApplyAsync(saleId, cancellation));
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested)
        {
            if (!Stores.IsAway(e)) LogFailed(saleId, e);
        }
        catch (OperationCanceledException)
        {
            // The host is stopping.
        }
    }

    [LoggerMessage(1, LogLevel.Error, "Units of sale {SaleId} cannot be carried back; it is tried again")]
    private partial void LogFailed(string saleId, Exception e);
}
