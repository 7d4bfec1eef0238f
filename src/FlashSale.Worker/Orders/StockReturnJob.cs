using System.Diagnostics.Metrics;
using Dapper;
using FlashSale.Platform;
using FlashSale.Stock;
using Npgsql;

namespace FlashSale.Worker.Orders;

/// <summary>Carries units that were given back to Redis, ten times a second: within one second somebody else can buy them.</summary>
public sealed class StockReturnJob(NpgsqlDataSource postgres, StockReturns returns, MigrateInBackground migrations, ILogger<StockReturnJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(100), migrations, logger)
{
    private static readonly Meter Meter = new("FlashSale.Stock");
    private static readonly Counter<long> Returned = Meter.CreateCounter<long>("flashsale_stock_returns_total", description: "Orders whose units went back to Redis.");

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        IEnumerable<string> sales;
        await using (var connection = await postgres.OpenConnectionAsync(cancellation))
        {
            // Jumps from sale to sale along the index, however many returns are pending.
            sales = await connection.QueryAsync<string>(new CommandDefinition("""
                with recursive pending as (
                    (select sale_id from stock_return where state = 'pending' order by sale_id limit 1)
                    union all
                    select (select r.sale_id from stock_return r where r.state = 'pending' and r.sale_id > p.sale_id order by r.sale_id limit 1)
                    from pending p where p.sale_id is not null)
                select sale_id from pending where sale_id is not null
                """, cancellationToken: cancellation));
        }
        foreach (var saleId in sales) Returned.Add(await returns.ApplyAsync(saleId, cancellation));
    }
}
