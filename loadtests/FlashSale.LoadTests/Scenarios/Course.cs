using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Scenarios;

/// <summary>
/// Shows a run second by second, from its history: accepted and refused purchases, and the time that the accepted ones
/// took.
/// </summary>
public sealed class Course
{
    private readonly List<Second> _seconds = [];

    /// <summary>Figures of a stretch of seconds.</summary>
    public sealed record Stretch(double AcceptedPerSecond, double RefusedPerSecond, double P50Ms, double P99Ms);

    /// <summary>Puts each answer into its second. Answers from before the start are left out.</summary>
    public static Course Of(IEnumerable<Told> history, DateTimeOffset startedAt)
    {
        var course = new Course();
        var start = (startedAt - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        foreach (var told in history)
        {
            if (told.EndedMicroseconds < start) continue;
            var second = (int)((told.EndedMicroseconds - start) / 1_000_000);
            while (course._seconds.Count <= second) course._seconds.Add(new Second());
            course._seconds[second].Add(told);
        }
        return course;
    }

    /// <summary>
    /// Returns the figures of the whole seconds between two moments, given in seconds from the start.
    /// </summary>
    public Stretch Between(double from, double to)
    {
        var seconds = Enumerable.Range(0, _seconds.Count).Where(second => second >= from && second + 1 <= to).Select(second => _seconds[second]).ToArray();
        if (seconds.Length == 0) return new Stretch(0, 0, 0, 0);
        var accepted = seconds.SelectMany(second => second.Accepted).Order().ToArray();
        return new Stretch((double)accepted.Length / seconds.Length, seconds.Average(second => second.Refused), Percentile(accepted, 0.5), Percentile(accepted, 0.99));
    }

    /// <summary>
    /// Returns the beginning of the stretch in which most purchases were accepted, in seconds from the start. It
    /// compares all stretches of the given number of whole seconds that are over before a moment.
    /// </summary>
    public int BestUntil(double until, int seconds) => Enumerable.Range(0, Math.Max(1, Math.Min((int)until, _seconds.Count) - seconds + 1))
        .MaxBy(from => _seconds.Skip(from).Take(seconds).Sum(second => second.Accepted.Count));

    /// <summary>
    /// Returns how many seconds after a moment the product began to be itself again and stayed so until another moment:
    /// no shopper refused, and half of the answers in time. Null: it was not itself at the end.
    /// </summary>
    public double? SecondsUntilItself(double after, double until, double mostP50Ms)
    {
        var itself = Math.Min((int)Math.Floor(until), _seconds.Count);
        var last = itself;
        while (itself > after && _seconds[itself - 1] is { Refused: 0, Accepted.Count: > 0 } second && Percentile([.. second.Accepted.Order()], 0.5) <= mostP50Ms) itself--;
        return itself == last ? null : Math.Max(0, itself - after);
    }

    private static double Percentile(int[] sorted, double share) => sorted.Length == 0 ? 0 : sorted[(int)Math.Ceiling(sorted.Length * share) - 1] / 1e3;

    private sealed class Second
    {
        /// <summary>Duration of each accepted purchase in microseconds.</summary>
        public List<int> Accepted { get; } = [];

        public long Refused { get; private set; }

        public void Add(in Told told)
        {
            if (told.IsAccepted) Accepted.Add((int)(told.EndedMicroseconds - told.StartedMicroseconds));
            else Refused++;
        }
    }
}
