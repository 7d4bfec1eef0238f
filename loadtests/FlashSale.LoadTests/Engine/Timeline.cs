namespace FlashSale.LoadTests.Engine;

/// <summary>
/// The course of a run in at most <see cref="Most"/> stretches. When that number is reached, every two stretches become
/// one, and later stretches are twice as long.
/// </summary>
public sealed class Timeline
{
    public const int Most = 600;

    private readonly Lock _gate = new();
    private readonly List<Stretch> _stretches = [];
    private Stretch? _open;
    private int _ticksEach = 1;

    /// <summary>
    /// Adds a tick. Counts are totals since the beginning. Durations (microseconds) are those of the tick alone.
    /// </summary>
    public void Add(double atSeconds, long ok, long fail, long missed, int inFlight, Histogram recent)
    {
        var tick = new Stretch(1, atSeconds, ok, fail, missed, inFlight, recent.Percentile(0.5), recent.Percentile(0.99), recent.Max);
        lock (_gate)
        {
            _open = _open is { } open ? open.With(tick) : tick;
            if (_open.Value.Ticks < _ticksEach) return;
            _stretches.Add(_open.Value);
            _open = null;
            if (_stretches.Count < Most) return;
            for (var i = 0; i < Most / 2; i++) _stretches[i] = _stretches[2 * i].With(_stretches[2 * i + 1]);
            _stretches.RemoveRange(Most / 2, Most / 2);
            _ticksEach *= 2;
        }
    }

    /// <summary>Returns the stretches so far, in order.</summary>
    public IReadOnlyList<TimelinePoint> Points()
    {
        lock (_gate)
        {
            var points = new List<TimelinePoint>(_stretches.Count + 1);
            var before = default(Stretch);
            foreach (var stretch in _open is { } open ? _stretches.Append(open) : _stretches)
            {
                var seconds = Math.Max(1e-3, stretch.At - before.At);
                points.Add(new TimelinePoint(
                    stretch.At, (stretch.Ok - before.Ok) / seconds, (stretch.Fail - before.Fail) / seconds, (stretch.Missed - before.Missed) / seconds, stretch.InFlight,
                    stretch.P50 / 1e3, stretch.P99 / 1e3, stretch.Max / 1e3));
                before = stretch;
            }
            return points;
        }
    }

    private readonly record struct Stretch(int Ticks, double At, long Ok, long Fail, long Missed, int InFlight, long P50, long P99, long Max)
    {
        public Stretch With(Stretch later) => later with
        {
            Ticks = Ticks + later.Ticks, P50 = Math.Max(P50, later.P50), P99 = Math.Max(P99, later.P99), Max = Math.Max(Max, later.Max),
        };
    }
}
