using System.ComponentModel.DataAnnotations;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Admission;

namespace FlashSale.Api.Protection;

/// <summary>Settings of load shedding. Section <c>Shedding</c>.</summary>
public sealed class SheddingOptions
{
    /// <summary>
    /// Purchases that may always be under way at once. Two full calls of reserve.lua are enough to keep Redis busy.
    /// </summary>
    [Range(1, 100_000)]
    public int MinConcurrency { get; set; } = 256;

    /// <summary>Purchases that may be under way at once when a burst follows a quiet time.</summary>
    [Range(1, 100_000)]
    public int BurstConcurrency { get; set; } = 1_024;

    /// <summary>Most purchases under way at once, however fast Redis answers them.</summary>
    [Range(1, 100_000)]
    public int MaxConcurrency { get; set; } = 4_096;

    /// <summary>How many times the latency without load purchases may take before the node takes on fewer.</summary>
    [Range(1.1, 100)]
    public double Tolerance { get; set; } = 3;

    /// <summary>Most other requests (pages and polls) under way at once.</summary>
    [Range(1, 100_000)]
    public int MaxPeriphery { get; set; } = 256;

    /// <summary>
    /// Shortest time that a refused purchase waits for its answer, in milliseconds. A client that is refused at once
    /// comes back at once, and refusing it again would take the time that selling needs.
    /// </summary>
    [Range(0, 10_000)]
    public int HoldMilliseconds { get; set; } = 250;

    /// <summary>Longest time that a refused purchase waits for its answer, in milliseconds.</summary>
    [Range(0, 30_000)]
    public int MaxHoldMilliseconds { get; set; } = 5_000;

    /// <summary>
    /// Purchases refused per second. More are refused only when one would wait longer than
    /// <see cref="MaxHoldMilliseconds"/>.
    /// </summary>
    [Range(10, 1_000_000)]
    public int RefusalsPerSecond { get; set; } = 1_000;
}

/// <summary>
/// Refuses requests that are too many before anything is spent on them. A purchase or admission is refused when as many
/// are under way as this node can answer in good time, a page or poll a little before that.
/// </summary>
public sealed class LoadShedder
{
    private const double PeripheryShare = 0.8;

    private static readonly Meter Meter = new("FlashSale.Shedding");
    private static readonly Counter<long> Shed = Meter.CreateCounter<long>("flashsale_shed_total", description: "Requests refused because too much was under way.");

    private readonly SheddingOptions _options;
    private readonly ConcurrencyLimit _limit;
    private int _periphery;
    private long _lastRefusal;

    /// <summary>Begins ready for a burst.</summary>
    /// <exception cref="Platform.InvalidSettingException">The concurrencies are not in ascending order, or the shortest
    /// hold is longer than the longest.</exception>
    public LoadShedder(SheddingOptions options)
    {
        if (options.MinConcurrency > options.BurstConcurrency || options.BurstConcurrency > options.MaxConcurrency)
        {
            throw new Platform.InvalidSettingException(
                $"Shedding:BurstConcurrency = '{options.BurstConcurrency}': allowed is Shedding:MinConcurrency ({options.MinConcurrency}) to Shedding:MaxConcurrency ({options.MaxConcurrency}).");
        }
        if (options.HoldMilliseconds > options.MaxHoldMilliseconds)
            throw new Platform.InvalidSettingException($"Shedding:HoldMilliseconds = '{options.HoldMilliseconds}': allowed is 0 to Shedding:MaxHoldMilliseconds, which is {options.MaxHoldMilliseconds}.");
        _options = options;
        _limit = new ConcurrencyLimit(options.MinConcurrency, options.BurstConcurrency, options.MaxConcurrency, options.Tolerance);
        foreach (var path in (string[])["purchase", "other"]) Shed.Add(0, new KeyValuePair<string, object?>("path", path));
        Meter.CreateObservableGauge("flashsale_concurrency_limit", () => _limit.Current, description: "Purchases that may be under way at once.");
        Meter.CreateObservableGauge("flashsale_purchases_in_flight", () => _limit.InFlight, description: "Purchases under way.");
    }

    /// <summary>
    /// Whether a purchase that comes now is one too many. Asked before anything is spent on the request.
    /// </summary>
    public bool IsFull => !_limit.HasRoom();

    /// <summary>
    /// Takes a place for a purchase, or for an admission, on its way to Redis. False when the node is full.
    /// </summary>
    public bool TryEnter() => _limit.TryEnter();

    /// <summary>
    /// Gives the place back after Redis has decided the purchase or has not answered, and measures how long it took.
    /// </summary>
    /// <param name="enteredAt">When the purchase took the place, a <see cref="Stopwatch"/> timestamp.</param>
    public void Leave(long enteredAt) => _limit.Leave(enteredAt);

    /// <summary>
    /// Gives the place back without measuring. The request never reached Redis, or it is an admission: its time would
    /// say nothing about purchases.
    /// </summary>
    public void LeaveUnmeasured() => _limit.LeaveUnmeasured();

    /// <summary>Takes a place for a page or poll. False when the node is full.</summary>
    public bool TryEnterPeriphery()
    {
        if (_limit.HasRoom(PeripheryShare))
        {
            if (Interlocked.Increment(ref _periphery) <= _options.MaxPeriphery) return true;
            Interlocked.Decrement(ref _periphery);
        }
        Shed.Add(1, new KeyValuePair<string, object?>("path", "other"));
        return false;
    }

    /// <summary>Gives the place of a page or poll back.</summary>
    public void LeavePeriphery() => Interlocked.Decrement(ref _periphery);

    /// <summary>
    /// Counts a purchase, or an admission, that was one too many, and delays its refusal so that the client does not
    /// come back at once. Refusals leave one after the other, at a bounded rate. So their cost does not grow with the
    /// number of refused clients, each of which holds a connection and no more.
    /// </summary>
    public Task HoldRefusedAsync()
    {
        Shed.Add(1, new KeyValuePair<string, object?>("path", "purchase"));
        var now = Stopwatch.GetTimestamp();
        var (earliest, latest) = (now + Ticks(_options.HoldMilliseconds), now + Ticks(_options.MaxHoldMilliseconds));
        long turn;
        for (var last = Volatile.Read(ref _lastRefusal); ; last = Volatile.Read(ref _lastRefusal))
        {
            turn = Math.Clamp(last + Stopwatch.Frequency / _options.RefusalsPerSecond, earliest, latest);
            if (Interlocked.CompareExchange(ref _lastRefusal, turn, last) == last) break;
        }
        return Task.Delay(Stopwatch.GetElapsedTime(now, turn));
    }

    private static long Ticks(int milliseconds) => milliseconds * Stopwatch.Frequency / 1_000;
}
