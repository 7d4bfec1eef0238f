using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Admission;
using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Platform;
using FlashSale.Sales;
using StackExchange.Redis;

namespace FlashSale.Api.Protection;

/// <summary>
/// Measures the pressure on this node twice a second, each signal as a share of its limit, and gives the largest one to
/// the degradation.
/// </summary>
public sealed partial class PressureGauge : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private static readonly Meter Meter = new("FlashSale.Degradation");

    // Longest wait for an answer of Redis. The looks at Redis follow one another, and one that hangs must not hold up
    // the other signals.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(400);

    private readonly Degradation _degradation;
    private readonly DegradationOptions _options;
    private readonly ScriptFigures _script;
    private readonly Storefront _storefront;
    private readonly RedisConnection _redis;
    private readonly ILogger<PressureGauge> _logger;
    private readonly long _memoryLimit;
    private readonly ConcurrentDictionary<string, double> _loads = new(StringComparer.Ordinal);
    private long _longestQueueTicks;

    /// <summary>Registers the metrics of the signals and of the level.</summary>
    public PressureGauge(Degradation degradation, DegradationOptions options, ScriptFigures script, Storefront storefront, RedisConnection redis, ILogger<PressureGauge> logger)
    {
        (_degradation, _options, _script, _storefront, _redis, _logger) = (degradation, options, script, storefront, redis, logger);
        _memoryLimit = options.MemoryMegabytes > 0 ? options.MemoryMegabytes * 1024L * 1024 : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4 * 3;
        Meter.CreateObservableGauge("flashsale_degradation_level", () => degradation.State.Level, description: "0 normal to 5 purchases suspended.");
        Meter.CreateObservableGauge("flashsale_pressure",
            () => _loads.Select(load => new Measurement<double>(load.Value, new KeyValuePair<string, object?>("signal", load.Key))),
            description: "What presses on this node, each signal as a share of its limit.");
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval);
        var level = 0;
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            ThreadPool.UnsafeQueueUserWorkItem(static state => state.Gauge.NoteQueue(state.QueuedAt), (Gauge: this, QueuedAt: Stopwatch.GetTimestamp()), preferLocal: false);
            try
            {
                await MeasureAsync();
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The share of failing calls of reserve.lua tells that Redis is away, if anybody buys.
            }
            var most = _loads.MaxBy(load => load.Value);
            _degradation.Press(most.Value, most.Key);
            var state = _degradation.State;
            if (state.Level != level) LogDegraded(level = state.Level, state.Cause);
        }
    }

    private async Task MeasureAsync()
    {
        var queue = TimeSpan.FromTicks(Interlocked.Exchange(ref _longestQueueTicks, 0));
        var (latency, errors) = _script.Take();
        _loads["thread pool queue"] = queue.TotalMilliseconds / _options.QueueDelayMilliseconds;
        _loads["script latency"] = latency.TotalMilliseconds / _options.ScriptMilliseconds;
        _loads["Redis errors"] = errors * 100 / _options.RedisErrorPercent;
        _loads["memory"] = (double)Environment.WorkingSet / _memoryLimit;
        var (backlog, age) = (0L, 0.0);
        // The outbox of a sale that is over only drains, and that of a sale that has not begun is empty.
        foreach (var sale in _storefront.Sales.Where(sale => sale.Published.PhaseAt(_redis.NowMilliseconds) is SalePhase.Open or SalePhase.Paused))
        {
            var (length, first) = await OutboxAsync(sale.Keys.Outbox);
            backlog = Math.Max(backlog, length);
            age = Math.Max(age, first is { } at ? (_redis.NowMilliseconds - at) / 1000.0 : 0);
        }
        _loads["outbox backlog"] = (double)backlog / _options.OutboxEntries;
        _loads["outbox age"] = age / _options.OutboxAgeSeconds;
    }

    private async Task<(long Length, long? FirstAt)> OutboxAsync(RedisKey outbox)
    {
        var length = await _redis.CallAsync(database => database.StreamLengthAsync(outbox), Patience);
        if (length == 0) return (0, null);
        var first = await _redis.CallAsync(database => database.StreamRangeAsync(outbox, count: 1), Patience);
        return (length, first.Length == 0 ? null : StreamIds.FirstOf(first[0].Id));
    }

    private void NoteQueue(long queuedAt)
    {
        var waited = Stopwatch.GetElapsedTime(queuedAt).Ticks;
        for (var seen = Volatile.Read(ref _longestQueueTicks); waited > seen;)
        {
            var was = Interlocked.CompareExchange(ref _longestQueueTicks, waited, seen);
            if (was == seen) return;
            seen = was;
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "Works at degradation level {Level}: {Cause}")]
    private partial void LogDegraded(int level, string cause);
}
