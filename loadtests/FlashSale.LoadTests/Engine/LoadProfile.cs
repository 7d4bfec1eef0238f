namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A scenario's load on one time line: when who arrives, and how many copies go round. Pure: the same simulations and seed give the same moments.
/// The expected number of arrivals is the area under the rate. Even arrivals come whenever it passes a whole number (the first at once), Poisson ones
/// whenever it has grown by an exponential number of mean 1; so both keep fractional rates exactly, also through ramps and from one stretch to the next.
/// </summary>
public sealed class LoadProfile
{
    private readonly Piece[] _pieces;
    private readonly int _seed;

    /// <summary>Lays simulations end to end.</summary>
    /// <param name="simulations">In their order.</param>
    /// <param name="seed">Of random rates and Poisson arrivals.</param>
    public LoadProfile(IEnumerable<LoadSimulation> simulations, int seed)
    {
        _seed = seed;
        _pieces = [.. Pieces(simulations, new Random(seed))];
        Duration = _pieces.Length == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(_pieces[^1].End);
    }

    /// <summary>Of all together.</summary>
    public TimeSpan Duration { get; }

    /// <summary>How many arrivals are expected; Poisson ones come more or less often.</summary>
    public double Expected => _pieces.Sum(piece => piece.Area);

    /// <summary>When open-model copies arrive, from the beginning, ascending. Reckoned as it is asked for: no memory, however many.</summary>
    public IEnumerable<TimeSpan> Arrivals()
    {
        var random = new Random(_seed);
        double wanting = 0;
        Arrivals? kind = null;
        foreach (var piece in _pieces)
        {
            if (piece.Area <= 0) continue;
            if (kind != piece.Arrivals) wanting = piece.Arrivals == Engine.Arrivals.Poisson ? Exponential(random) : 0;
            kind = piece.Arrivals;
            // The sum of many fractions may end a hair short of the piece's end; who belongs there is the first of the next.
            for (; wanting < piece.Area - 1e-6; wanting += piece.Arrivals == Engine.Arrivals.Poisson ? Exponential(random) : 1)
                yield return TimeSpan.FromSeconds(piece.Start + piece.TimeOf(wanting));
            wanting = Math.Max(0, wanting - piece.Area);
        }
    }

    /// <summary>How many closed-model copies go round at a moment.</summary>
    public int CopiesAt(TimeSpan moment)
    {
        var seconds = moment.TotalSeconds;
        foreach (var piece in _pieces)
            if (seconds < piece.End) return piece.CopiesAt(seconds);
        return 0;
    }

    /// <summary>Arrivals a second that are meant at a moment.</summary>
    public double RateAt(TimeSpan moment)
    {
        var seconds = moment.TotalSeconds;
        foreach (var piece in _pieces)
            if (seconds < piece.End) return piece.From + (piece.To - piece.From) * (seconds - piece.Start) / (piece.End - piece.Start);
        return 0;
    }

    private static double Exponential(Random random) => -Math.Log(1 - random.NextDouble());

    private static IEnumerable<Piece> Pieces(IEnumerable<LoadSimulation> simulations, Random random)
    {
        double at = 0, rate = 0;
        var copies = 0;
        foreach (var simulation in simulations)
        {
            var end = at + simulation.During.TotalSeconds;
            switch (simulation)
            {
                case LoadSimulation.Open open:
                    yield return new Piece(at, end, open.From ?? rate, open.To, open.Arrivals, 0, 0);
                    (rate, copies) = (open.To, 0);
                    break;
                case LoadSimulation.OpenRandom open:
                    for (var began = at; began < end; began += open.Interval.TotalSeconds)
                    {
                        rate = open.Min + (open.Max - open.Min) * random.NextDouble();
                        yield return new Piece(began, Math.Min(end, began + open.Interval.TotalSeconds), rate, rate, open.Arrivals, 0, 0);
                    }
                    copies = 0;
                    break;
                case LoadSimulation.Closed closed:
                    yield return new Piece(at, end, 0, 0, Engine.Arrivals.Even, closed.From ?? copies, closed.To);
                    (rate, copies) = (0, closed.To);
                    break;
                case LoadSimulation.Quiet:
                    yield return new Piece(at, end, 0, 0, Engine.Arrivals.Even, 0, 0);
                    (rate, copies) = (0, 0);
                    break;
                default:
                    throw new ArgumentException($"{simulation.GetType().Name} is no simulation that is known here.", nameof(simulations));
            }
            at = end;
        }
    }

    // Seconds, and arrivals a second.
    private readonly record struct Piece(double Start, double End, double From, double To, Arrivals Arrivals, int FirstCopies, int LastCopies)
    {
        public double Area => (From + To) / 2 * (End - Start);

        // When, after the start, the area has grown to this: the root of From * t + (To - From) / (End - Start) / 2 * t * t = area.
        public double TimeOf(double area)
        {
            if (area <= 0) return 0;
            var slope = (To - From) / (End - Start);
            return 2 * area / (From + Math.Sqrt(Math.Max(0, From * From + 2 * slope * area)));
        }

        public int CopiesAt(double moment) => (int)Math.Round(FirstCopies + (LastCopies - FirstCopies) * (moment - Start) / (End - Start));
    }
}
