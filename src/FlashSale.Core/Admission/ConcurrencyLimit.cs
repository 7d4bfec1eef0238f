using System.Diagnostics;

namespace FlashSale.Admission;

/// <summary>
/// The number of requests that a node takes on at once. It follows the latency of the requests taken on, as TCP Vegas
/// finds its window and Netflix' concurrency-limits the limit of a service. While answers come nearly as fast as
/// without load, there is room for more. Once requests wait for one another, there is not. A burst after a quiet time
/// is let in up to the limit that the node began with, since it is over before it can be judged. The latency without
/// load is the lowest one seen lately. Now and then the limit goes down for a moment, to measure that latency again.
/// Thread-safe. Entering takes no lock.
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

    /// <summary>Begins with the limit <paramref name="burst"/>.</summary>
    /// <param name="min">The lowest limit.</param>
    /// <param name="burst">The limit at the beginning, to which it returns in quiet times.</param>
    /// <param name="max">The highest limit.</param>
    /// <param name="tolerance">
    /// The multiple of the latency without load up to which requests do not count as queued.
    /// </param>
    public ConcurrencyLimit(int min, int burst, int max, double tolerance)
    {
        (_min, _burst, _max, _tolerance) = (min, burst, max, tolerance);
        (_estimate, _limit) = (burst, burst);
        _baselineAt = Stopwatch.GetTimestamp();
    }

    /// <summary>The present limit: requests that may be under way at once.</summary>
    public int Current => Volatile.Read(ref _limit);

    /// <summary>Requests that are under way.</summary>
    public int InFlight => Volatile.Read(ref _inFlight);

    /// <summary>Whether fewer requests are under way than a share of the limit.</summary>
    /// <param name="share">1 for the whole limit. Less important requests use a smaller share.</param>
    public bool HasRoom(double share = 1) => Volatile.Read(ref _inFlight) < Volatile.Read(ref _limit) * share;

    /// <summary>Takes one more request on, unless the limit is reached.</summary>
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

    /// <summary>Ends a request, and counts its latency.</summary>
    /// <param name="startedAt"><see cref="Stopwatch.GetTimestamp"/> at the time the request entered.</param>
    public void Leave(long startedAt) => Leave(startedAt, Stopwatch.GetTimestamp());

    /// <inheritdoc cref="Leave(long)" />
    /// <param name="startedAt">The time at which the request entered.</param>
    /// <param name="now">The time at which it left, on the same clock.</param>
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

    /// <summary>
    /// Ends a request without counting its latency. A request that was turned away at once says nothing about the load.
    /// </summary>
    public void LeaveUnmeasured() => Interlocked.Decrement(ref _inFlight);

    private void Judge(long now)
    {
        var samples = Interlocked.Exchange(ref _samples, 0);
        var ticks = Interlocked.Exchange(ref _ticks, 0);
        var peak = Interlocked.Exchange(ref _peak, 0);
        Volatile.Write(ref _windowEnds, now + Window);
        if (samples == 0) return;
        var latency = (double)ticks / samples;

        // The first window of a probe still contains requests that entered before it.
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
        // A limit that is not used must not grow. Its growth would prove nothing, and would let in more than a burst.
        var target = peak < _estimate / 2 && gradient >= 1 ? Math.Max(_estimate, _burst) : _estimate * gradient + Math.Sqrt(_estimate);
        _estimate = Math.Clamp(_estimate * (1 - Smoothing) + target * Smoothing, _min, _max);
        Volatile.Write(ref _limit, (int)_estimate);
    }
}
