using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Worker.Events;

/// <summary>Counts published order events and shows how far publishing is behind.</summary>
public sealed class OrderEventMetrics
{
    private static readonly Meter Meter = new("FlashSale.Events");

    private readonly Counter<long> _published = Meter.CreateCounter<long>("flashsale_order_events_published_total", description: "Order events confirmed by the broker, repeats included.");
    private Lag _lag = new(null, 0);

    /// <summary>Registers the gauge.</summary>
    public OrderEventMetrics() => Meter.CreateObservableGauge("flashsale_order_events_oldest_unpublished_seconds", OldestSeconds,
        description: "Age of the oldest order event that is not published; 0 when all are.");

    /// <summary>Counts events that were published and marked, repeats included.</summary>
    public void Published(int events) => _published.Add(events);

    /// <summary>Records the result of a look at the table of events.</summary>
    /// <param name="oldest">The age of the oldest event that is not published. Null when all events are
    /// published.</param>
    public void Seen(TimeSpan? oldest) => Volatile.Write(ref _lag, new Lag(oldest, Stopwatch.GetTimestamp()));

    // The age goes on growing while Postgres cannot be asked.
    private double OldestSeconds()
    {
        var lag = Volatile.Read(ref _lag);
        return lag.Oldest is { } oldest ? (oldest + Stopwatch.GetElapsedTime(lag.SeenAt)).TotalSeconds : 0;
    }

    private sealed record Lag(TimeSpan? Oldest, long SeenAt);
}

/// <summary>
/// Measures every 2 s how far publishing is behind. Every worker measures, since the publisher itself may be the part
/// that fails.
/// </summary>
public sealed class OrderEventLag(OrderEventStore store, OrderEventMetrics metrics, MigrateInBackground migrations) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await migrations.Done.WaitAsync(stoppingToken);
        using var timer = new PeriodicTimer(Interval);
        do
        {
            try
            {
                metrics.Seen(await store.OldestAsync(stoppingToken));
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException)
            {
                // The publisher logs the errors of Postgres.
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
