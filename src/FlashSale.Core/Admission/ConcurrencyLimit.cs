using System.Diagnostics;

namespace FlashSale.Admission;

/// <summary>
/// How much a node takes on at once, found by the latency of what it has taken on, as TCP Vegas finds its window and
/// Netflix' concurrency-limits a service's: while answers come nearly as fast as they do without load there is room for
/// more, once they wait for one another there is not. A burst after a quiet time is let in up to the limit it begins with,
/// since it is over before it can be judged. The latency without load is the least that was seen lately; now and
/// then the limit goes down for a moment to see it again. Thread-safe, no locks on the way in.
/// </summary>
public sealed class ConcurrencyLimit
{
    private const double Smoothing = 0.2;
    private const int MinSamples = 10;

    private static readonly long Window = Stopwatch.Frequency / 10;
    private static readonly long BaselineLife = 30 * Stopwatch.Frequency;

    private readonly int _min;
    private readonly int _burst;
    private readonly int _max;
    private readonly double _tolerance;
    private readonly Lock _judging = new();
    private double _estimate;
    private double _baseline;
    private long _baselineAt;
    private int _probeWindows;
    private int _limit;
    private int _inFlight;
    private int _peak;
    private long _windowEnds;
    private long _ticks;
    private int _samples;

    /// <summary>Begins ready for a burst.</summary>
    /// <param name="min">Never less at once than that.</param>
    /// <param name="burst">Where it begins, and where it returns to in quiet times.</param>
    /// <param name="max">Never more.</param>
    /// <param name="tolerance">How many times the latency without load is still no queue.</param>
    public ConcurrencyLimit(int min, int burst, int max, double tolerance)
    {
        (_min, _burst, _max, _tolerance) = (min, burst, max, tolerance);
        (_estimate, _limit) = (burst, burst);
        _baselineAt = Stopwatch.GetTimestamp();
    }

    /// <summary>What may be under way at once.</summary>
    public int Current => Volatile.Read(ref _limit);

    /// <summary>What is.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Whether less is under way than a share of the limit.</summary>
    /// <param name="share">1 for all of it; less for what comes after more important things.</param>
    public bool HasRoom(double share = 1) => Volatile.Read(ref _inFlight) < Volatile.Read(ref _limit) * share;

    /// <summary>Takes one more on, unless that much is under way.</summary>
    public bool TryEnter()
    {
        var inFlight = Interlocked.Increment(ref _inFlight);
        if (inFlight <= Volatile.Read(ref _limit))
        {
            if (inFlight > Volatile.Read(ref _peak)) Volatile.Write(ref _peak, inFlight);
            return true;
        }
        Interlocked.Decrement(ref _inFlight);
        return false;
    }

    /// <summary>One is done.</summary>
    /// <param name="startedAt"><see cref="Stopwatch.GetTimestamp"/> when it entered.</param>
    public void Leave(long startedAt) => Leave(startedAt, Stopwatch.GetTimestamp());

    /// <inheritdoc cref="Leave(long)" />
    /// <param name="startedAt">When it entered.</param>
    /// <param name="now">When it left, on the same clock.</param>
    public void Leave(long startedAt, long now)
    {
        Interlocked.Decrement(ref _inFlight);
        Interlocked.Add(ref _ticks, now - startedAt);
        if (Interlocked.Increment(ref _samples) >= MinSamples && now >= Volatile.Read(ref _windowEnds) && _judging.TryEnter())
        {
            try
            {
                Judge(now);
            }
            finally
            {
                _judging.Exit();
            }
        }
    }

    /// <summary>One is done whose time says nothing of the load: it was turned away at once.</summary>
    public void LeaveUnmeasured() => Interlocked.Decrement(ref _inFlight);

    private void Judge(long now)
    {
        var samples = Interlocked.Exchange(ref _samples, 0);
        var ticks = Interlocked.Exchange(ref _ticks, 0);
        var peak = Interlocked.Exchange(ref _peak, 0);
        Volatile.Write(ref _windowEnds, now + Window);
        if (samples == 0) return;
        var latency = (double)ticks / samples;

        // The first window of a probe still holds what entered before it.
        if (_probeWindows == 2)
        {
            _probeWindows = 1;
            return;
        }
        if (_baseline == 0 || latency < _baseline || _probeWindows == 1) (_baseline, _baselineAt, _probeWindows) = (latency, now, 0);
        else if (now - _baselineAt > BaselineLife)
        {
            _probeWindows = 2;
            Volatile.Write(ref _limit, _min);
            return;
        }

        var gradient = Math.Clamp(_tolerance * _baseline / latency, 0.5, 1);
        // Growing what is not used would say nothing, and open the door to more than a burst.
        var target = peak < _estimate / 2 && gradient >= 1 ? Math.Max(_estimate, _burst) : _estimate * gradient + Math.Sqrt(_estimate);
        _estimate = Math.Clamp(_estimate * (1 - Smoothing) + target * Smoothing, _min, _max);
        Volatile.Write(ref _limit, (int)_estimate);
    }
}
