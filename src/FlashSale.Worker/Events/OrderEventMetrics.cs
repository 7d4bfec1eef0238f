using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Worker.Events;

/// <summary>Counts what was published, and tells how far publishing is behind.</summary>
public sealed class OrderEventMetrics
{
    private static readonly Meter Meter = new("FlashSale.Events");

    private readonly Counter<long> _published = Meter.CreateCounter<long>("flashsale_order_events_published_total", description: "Order events confirmed by the broker, repeats included.");
    private Lag _lag = new(null, 0);

    /// <summary>Starts to tell.</summary>
    public OrderEventMetrics() => Meter.CreateObservableGauge("flashsale_order_events_oldest_unpublished_seconds", OldestSeconds,
        description: "Age of the oldest order event that is not published; 0 when all are.");

    /// <summary>Events were published and marked.</summary>
    public void Published(int events) => _published.Add(events);

    /// <summary>What was seen.</summary>
    /// <param name="oldest">Age of the oldest event that is not published; null when there is none.</param>
    public void Seen(TimeSpan? oldest) => Volatile.Write(ref _lag, new Lag(oldest, Stopwatch.GetTimestamp()));

    // It goes on ageing while Postgres cannot be asked.
    private double OldestSeconds()
    {
        var lag = Volatile.Read(ref _lag);
        return lag.Oldest is { } oldest ? (oldest + Stopwatch.GetElapsedTime(lag.SeenAt)).TotalSeconds : 0;
    }

    private sealed record Lag(TimeSpan? Oldest, long SeenAt);
}

/// <summary>Looks how far publishing is behind: in every worker, since the publisher may be what fails.</summary>
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
                // The publisher says what is wrong with Postgres.
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
