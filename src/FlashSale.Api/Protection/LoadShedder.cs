using System.ComponentModel.DataAnnotations;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using FlashSale.Admission;

namespace FlashSale.Api.Protection;

/// <summary>Section <c>Shedding</c>.</summary>
public sealed class SheddingOptions
{
    /// <summary>Purchases that may always be under way at once; two calls of reserve.lua full of them keep Redis busy.</summary>
    [Range(1, 100_000)]
    public int MinConcurrency { get; set; } = 256;

    /// <summary>Purchases that may be under way at once when they come out of the blue.</summary>
    [Range(1, 100_000)]
    public int BurstConcurrency { get; set; } = 1_024;

    /// <summary>Most purchases under way at once, however fast they are answered.</summary>
    [Range(1, 100_000)]
    public int MaxConcurrency { get; set; } = 4_096;

    /// <summary>How many times the latency without load purchases may take before fewer are let in.</summary>
    [Range(1.1, 100)]
    public double Tolerance { get; set; } = 3;

    /// <summary>Most other requests under way at once.</summary>
    [Range(1, 100_000)]
    public int MaxPeriphery { get; set; } = 256;

    /// <summary>
    /// How long a refused purchase waits for its answer at least, in milliseconds. Whoever gets a refusal at once comes at
    /// once again; refusing would take the time that selling needs.
    /// </summary>
    [Range(0, 10_000)]
    public int HoldMilliseconds { get; set; } = 250;

    /// <summary>How long it waits at most, in milliseconds.</summary>
    [Range(0, 30_000)]
    public int MaxHoldMilliseconds { get; set; } = 5_000;

    /// <summary>How many purchases are refused in a second, as far as none waits longer than the most.</summary>
    [Range(10, 1_000_000)]
    public int RefusalsPerSecond { get; set; } = 1_000;
}

/// <summary>
/// Refuses what is too much before anything is spent on it: a purchase when as many are under way as this node can
/// answer in good time, and everything else a little before that.
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
    /// <exception cref="Platform.InvalidSettingException">The concurrencies are not in order.</exception>
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

    /// <summary>Whether a purchase that comes now is one too many: asked before anything is spent on it.</summary>
    public bool IsFull => !_limit.HasRoom();

    /// <summary>Lets a purchase, or an admission to one, go to Redis, or not.</summary>
    public bool TryEnter() => _limit.TryEnter();

    /// <summary>Redis has decided it, or has not answered.</summary>
    /// <param name="enteredAt">When it entered, a Stopwatch timestamp.</param>
    public void Leave(long enteredAt) => _limit.Leave(enteredAt);

    /// <summary>It never got as far as Redis, or is no purchase: how long it took says nothing of what purchases take.</summary>
    public void LeaveUnmeasured() => _limit.LeaveUnmeasured();

    /// <summary>Takes on a request that is not a purchase, or not.</summary>
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

    /// <summary>Such a request is answered.</summary>
    public void LeavePeriphery() => Interlocked.Decrement(ref _periphery);

    /// <summary>
    /// Counts a purchase, or an admission to one, that was one too many, and keeps whoever sent it from coming again at once. Refusals leave one after the
    /// other, at a bounded rate: so what they cost does not grow with those who are refused, each of whom holds a connection and no more.
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
