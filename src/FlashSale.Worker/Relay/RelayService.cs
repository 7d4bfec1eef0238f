using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Worker.Keeper;
using MassTransit;
using StackExchange.Redis;

namespace FlashSale.Worker.Relay;

/// <summary>
/// The relay's own connection to the broker. The broker may block a connection for publishing, and that must not stop
/// the consumers.
/// </summary>
public interface IRelayBus : IBus;

/// <summary>
/// Runs a relay for every outbox that Redis knows of. It asks no other store, so relaying goes on while Postgres is
/// away.
/// </summary>
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
                // These sales were archived and have no outbox any more.
                foreach (var saleId in relays.Keys.Where(saleId => !sales.Contains(saleId)).ToList())
                {
                    relays.Remove(saleId, out var ended);
                    await ended!.CancelAsync();
                    ended.Dispose();
                }
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The watchdog of the connection has logged this already.
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}

/// <summary>
/// Limits how fast all relays of a worker together publish while purchases come in. Safe for use by many threads.
/// </summary>
/// <param name="perSecond">The limit, in reservations a second.</param>
public sealed class RelayPace(int perSecond)
{
    // Longer than the time between two packs, so that IsBusy does not flicker.
    private const int BusyMilliseconds = 300;

    private readonly Lock _sync = new();
    private long _freeAt;
    private long _busyUntil;

    /// <summary>
    /// Whether a relay found a large pack in the last 300 ms. Purchases go before all work that can wait.
    /// </summary>
    public bool IsBusy => Environment.TickCount64 < Volatile.Read(ref _busyUntil);

    /// <summary>Records that a relay has found a large pack.</summary>
    public void FoundBusy() => Volatile.Write(ref _busyUntil, Environment.TickCount64 + BusyMilliseconds);

    /// <summary>
    /// Reserves the time that so many reservations may take at the limit, and returns how long it is until that time is
    /// over.
    /// </summary>
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

/// <summary>Records whether the relays of a worker get any message confirmed. Safe for use by many threads.</summary>
public sealed class RelayHealth(TimeProvider time)
{
    private const long Never = long.MinValue;

    // Shorter than BrokerWatch takes to end the worker. One old failure, or failures from before this worker gave up
    // its outboxes, must not end it.
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(30);

    private long _confirmedAt = Never;
    private long _failedAt = Never;

    /// <summary>
    /// Whether publishes fail now although the broker has confirmed earlier ones. False in a process that never got a
    /// confirm, since a new process would fare no better.
    /// </summary>
    public bool IsFailing
    {
        get
        {
            var (confirmedAt, failedAt) = (Volatile.Read(ref _confirmedAt), Volatile.Read(ref _failedAt));
            return confirmedAt != Never && failedAt > confirmedAt && time.GetElapsedTime(failedAt) < Fresh;
        }
    }

    /// <summary>Records that the broker has confirmed a message, in time or late.</summary>
    public void Confirmed() => Volatile.Write(ref _confirmedAt, time.GetTimestamp());

    /// <summary>Records that a message came back, or was not confirmed in time.</summary>
    public void Failed() => Volatile.Write(ref _failedAt, time.GetTimestamp());
}

/// <summary>Counts reservations that were published to the broker.</summary>
public sealed class RelayMetrics
{
    private static readonly Meter Meter = new("FlashSale.Relay");

    private readonly Counter<long> _published = Meter.CreateCounter<long>("flashsale_relayed_reservations_total", description: "Reservations published to the broker, repeats included.");

    /// <summary>Counts the reservations of a published pack, repeats included.</summary>
    public void Published(int reservations) => _published.Add(reservations);
}
