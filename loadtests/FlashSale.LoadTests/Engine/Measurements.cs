using System.Collections.Concurrent;
using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// Collects the results of a scenario's iterations while they run. Its memory does not grow with their number.
/// </summary>
internal sealed class ScenarioMeasurements
{
    private readonly ConcurrentDictionary<string, StepMeasurements> _steps = new(StringComparer.Ordinal);
    private readonly Timeline _timeline = new();
    private Histogram _recent = new();
    private long _started;
    private long _missed;
    private long _intended;
    private int _inFlight;
    private int _maxInFlight;

    public StepMeasurements Whole { get; } = new(0);

    public Histogram Lag { get; } = new();

    public int InFlight => Volatile.Read(ref _inFlight);

    public long Started => Volatile.Read(ref _started);

    public long Missed => Volatile.Read(ref _missed);

    public StepMeasurements Step(string name) => _steps.TryGetValue(name, out var step) ? step : _steps.GetOrAdd(name, _ => new StepMeasurements(_steps.Count));

    public void FallDue() => Interlocked.Increment(ref _intended);

    public void Miss() => Interlocked.Increment(ref _missed);

    public void Enter()
    {
        var now = Interlocked.Increment(ref _inFlight);
        if (now > _maxInFlight) _maxInFlight = now;
    }

    public void Leave() => Interlocked.Decrement(ref _inFlight);

    public void Begin(long lateTicks)
    {
        Interlocked.Increment(ref _started);
        Lag.Add(Microseconds(lateTicks));
    }

    public void End(IResponse response, long latencyTicks, long serviceTicks)
    {
        Whole.Add(response, latencyTicks, serviceTicks);
        if (!response.IsError) Volatile.Read(ref _recent).Add(Microseconds(latencyTicks));
    }

    /// <summary>Closes the current stretch of the time line.</summary>
    public void Tick(TimeSpan elapsed)
    {
        var recent = Interlocked.Exchange(ref _recent, new Histogram());
        _timeline.Add(elapsed.TotalSeconds, Whole.Ok.Count, Whole.Fail.Count, Missed, InFlight, recent);
    }

    public ScenarioStats ToStats(string name, TimeSpan duration, int copiesCap, long unfinished)
    {
        var (ok, fail, codes) = Whole.ToStats(duration);
        var steps = _steps.OrderBy(step => step.Value.Order).Select(step =>
        {
            var (stepOk, stepFail, stepCodes) = step.Value.ToStats(duration);
            return new StepStats(step.Key, stepOk, stepFail, stepCodes);
        });
        var generator = new GeneratorStats(Volatile.Read(ref _intended), Started, Missed, unfinished, _maxInFlight, copiesCap, LatencyStats.Of(Lag));
        return new ScenarioStats(name, duration, ok, fail, codes, [.. steps], generator, _timeline.Points());
    }

    public static long Microseconds(long ticks) => (long)(ticks * (1e6 / Stopwatch.Frequency));
}

/// <summary>Collects the results of a scenario's iterations, or of one of its steps.</summary>
internal sealed class StepMeasurements(int order)
{
    private const int MostStatusCodes = 100;

    private readonly ConcurrentDictionary<(string Code, bool IsError, string Message), StrongBox> _codes = new();

    public int Order => order;

    public Side Ok { get; } = new();

    public Side Fail { get; } = new();

    public void Add(IResponse response, long latencyTicks, long serviceTicks)
    {
        (response.IsError ? Fail : Ok).Add(ScenarioMeasurements.Microseconds(latencyTicks), ScenarioMeasurements.Microseconds(serviceTicks), response.SizeBytes);
        if (response.StatusCode.Length == 0 && response.Message.Length == 0) return;
        Interlocked.Increment(ref CounterOf(response).Count);
    }

    public (MeasurementStats Ok, MeasurementStats Fail, IReadOnlyList<StatusCodeStats> Codes) ToStats(TimeSpan duration)
    {
        var all = Ok.Count + Fail.Count;
        var codes = _codes.OrderByDescending(code => code.Value.Count)
            .Select(code => new StatusCodeStats(code.Key.Code, code.Key.IsError, code.Key.Message, code.Value.Count, Percent(code.Value.Count, all)));
        return (Ok.ToStats(duration, all), Fail.ToStats(duration, all), [.. codes]);
    }

    private static double Percent(long count, long all) => all == 0 ? 0 : 100.0 * count / all;

    private StrongBox CounterOf(IResponse response)
    {
        var key = (response.StatusCode, response.IsError, response.Message);
        if (_codes.TryGetValue(key, out var counter)) return counter;
        // Messages that differ every time must not fill the memory. Codes beyond the limit are counted together.
        return _codes.GetOrAdd(_codes.Count < MostStatusCodes ? key : ("", response.IsError, "others"), _ => new StrongBox());
    }

    private sealed class StrongBox
    {
        public long Count;
    }

    internal sealed class Side
    {
        private readonly Histogram _latency = new();
        private readonly Histogram _service = new();
        private long _count;
        private long _bytes;
        private long _minBytes = long.MaxValue;
        private long _maxBytes;

        public long Count => Volatile.Read(ref _count);

        public void Add(long latency, long service, long bytes)
        {
            _latency.Add(latency);
            _service.Add(service);
            Interlocked.Increment(ref _count);
            Interlocked.Add(ref _bytes, bytes);
            // These writes may race. A lost race costs one extreme of a size, but never a count.
            if (bytes < _minBytes) _minBytes = bytes;
            if (bytes > _maxBytes) _maxBytes = bytes;
        }

        public MeasurementStats ToStats(TimeSpan duration, long all)
        {
            var count = Count;
            return new MeasurementStats(
                new RequestStats(count, duration > TimeSpan.Zero ? count / duration.TotalSeconds : 0, Percent(count, all)),
                LatencyStats.Of(_latency), LatencyStats.Of(_service),
                new DataTransferStats(count == 0 ? 0 : _minBytes, count == 0 ? 0 : (double)_bytes / count, _maxBytes, _bytes));
        }
    }
}
