using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Worker.Keeper;
using MassTransit;
using StackExchange.Redis;

namespace FlashSale.Worker.Relay;

/// <summary>The relay's own connection to the broker: one that is blocked for publishing must not stop the consumers.</summary>
public interface IRelayBus : IBus;

/// <summary>Runs a relay for every outbox that Redis knows of, so that relaying goes on with Postgres away.</summary>
public sealed partial class RelayService(
    RedisConnection redis, IRelayBus bus, BrokerBacklog broker, RelayPace pace, RelayHealth health, RelayOptions options, RelayMetrics metrics, ILogger<RelayService> logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly SettledProgress _progress = new();

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var relays = new Dictionary<string, CancellationTokenSource>(StringComparer.Ordinal);
        using var timer = new PeriodicTimer(Interval);
        do
        {
            try
            {
                var sales = (await redis.CallAsync(database => database.SetMembersAsync(SaleKeys.Outboxes))).Select(member => (string)member!).ToHashSet(StringComparer.Ordinal);
                foreach (var saleId in sales.Where(saleId => !relays.ContainsKey(saleId)))
                {
                    var ending = relays[saleId] = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
                    _ = Task.Run(() => new SaleRelay(saleId, redis, bus, broker, _progress, pace, health, options, metrics, logger).RunAsync(ending.Token), stoppingToken);
                }
                // Archived: there is no outbox any more.
                foreach (var saleId in relays.Keys.Where(saleId => !sales.Contains(saleId)).ToList())
                {
                    relays.Remove(saleId, out var ended);
                    await ended!.CancelAsync();
                    ended.Dispose();
                }
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The watchdog has said so already.
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}

/// <summary>How fast all relays of a worker together go while purchases are coming in. Safe for use by many threads.</summary>
/// <param name="perSecond">Reservations a second.</param>
public sealed class RelayPace(int perSecond)
{
    // Longer than the time between two packs, so that it does not flicker.
    private const int BusyMilliseconds = 300;

    private readonly Lock _sync = new();
    private long _freeAt;
    private long _busyUntil;

    /// <summary>Whether there was much to hand on a moment ago: purchases go before whatever can wait.</summary>
    public bool IsBusy => Environment.TickCount64 < Volatile.Read(ref _busyUntil);

    /// <summary>A relay has found a large pack.</summary>
    public void FoundBusy() => Volatile.Write(ref _busyUntil, Environment.TickCount64 + BusyMilliseconds);

    /// <summary>Takes the time that so many reservations are given; answers how long until it is over.</summary>
    public TimeSpan Take(int reservations)
    {
        var now = Stopwatch.GetTimestamp();
        lock (_sync)
        {
            _freeAt = Math.Max(_freeAt, now) + reservations * Stopwatch.Frequency / perSecond;
            return Stopwatch.GetElapsedTime(now, _freeAt);
        }
    }
}

/// <summary>Whether all relays of a worker together get anything confirmed. Safe for use by many threads.</summary>
public sealed class RelayHealth(TimeProvider time)
{
    private const long Never = long.MinValue;

    // Shorter than it takes to end a worker for it: one failure is none, and whoever has left the outboxes to another worker has stopped failing.
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(30);

    private long _confirmedAt = Never;
    private long _failedAt = Never;

    /// <summary>Whether publishes fail now that were confirmed before: never that of a process to which nothing was ever confirmed, since another one would fare no better.</summary>
    public bool IsFailing
    {
        get
        {
            var (confirmedAt, failedAt) = (Volatile.Read(ref _confirmedAt), Volatile.Read(ref _failedAt));
            return confirmedAt != Never && failedAt > confirmedAt && time.GetElapsedTime(failedAt) < Fresh;
        }
    }

    /// <summary>The broker has a message, in time or not.</summary>
    public void Confirmed() => Volatile.Write(ref _confirmedAt, time.GetTimestamp());

    /// <summary>A message came back, or nothing was heard of it in time.</summary>
    public void Failed() => Volatile.Write(ref _failedAt, time.GetTimestamp());
}

/// <summary>Counts what was handed to the broker.</summary>
public sealed class RelayMetrics
{
    private static readonly Meter Meter = new("FlashSale.Relay");

    private readonly Counter<long> _published = Meter.CreateCounter<long>("flashsale_relayed_reservations_total", description: "Reservations published to the broker, repeats included.");

    /// <summary>A pack was published.</summary>
    public void Published(int reservations) => _published.Add(reservations);
}
