namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A scenario's load on one time line: the moments at which copies arrive (open model), and the number of copies that
/// go round (closed model). It is pure: the same simulations and seed give the same moments.
/// The expected number of arrivals is the area under the rate. Even arrivals come whenever the area passes a whole
/// number (the first at once). Poisson arrivals come whenever it has grown by an exponential random number of mean 1.
/// So both keep fractional rates exactly, also through ramps and from one stretch to the next.
/// </summary>
public sealed class LoadProfile
{
    private readonly Piece[] _pieces;
    private readonly int _seed;

    /// <summary>Lays the simulations end to end.</summary>
    /// <param name="simulations">The stretches of load, in order.</param>
    /// <param name="seed">Seed of random rates and Poisson arrivals.</param>
    public LoadProfile(IEnumerable<LoadSimulation> simulations, int seed)
    {
        _seed = seed;
        _pieces = [.. Pieces(simulations, new Random(seed))];
        Duration = _pieces.Length == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(_pieces[^1].End);
    }

    /// <summary>Length of all stretches together.</summary>
    public TimeSpan Duration { get; }

    /// <summary>The expected number of arrivals. Poisson arrivals may be more or fewer.</summary>
    public double Expected => _pieces.Sum(piece => piece.Area);

    /// <summary>
    /// Returns the moments at which open-model copies arrive, ascending, counted from the beginning. Each moment is
    /// computed when the caller asks for it, so even many arrivals take no memory.
    /// </summary>
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
            // Adding many fractions may end a hair short of the piece's end. An arrival that close to the end becomes
            // the first arrival of the next piece.
            for (; wanting < piece.Area - 1e-6; wanting += piece.Arrivals == Engine.Arrivals.Poisson ? Exponential(random) : 1)
                yield return TimeSpan.FromSeconds(piece.Start + piece.TimeOf(wanting));
            wanting = Math.Max(0, wanting - piece.Area);
        }
    }

    /// <summary>Returns the number of closed-model copies that go round at a moment.</summary>
    public int CopiesAt(TimeSpan moment)
    {
        var seconds = moment.TotalSeconds;
        foreach (var piece in _pieces)
            if (seconds < piece.End) return piece.CopiesAt(seconds);
        return 0;
    }

    /// <summary>Returns the intended rate at a moment, in arrivals a second.</summary>
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

    // Times are in seconds, rates in arrivals a second.
    private readonly record struct Piece(double Start, double End, double From, double To, Arrivals Arrivals, int FirstCopies, int LastCopies)
    {
        public double Area => (From + To) / 2 * (End - Start);

        // Returns the time after the piece's start at which the area has grown to this value. It is the root of
        // From * t + (To - From) / (End - Start) / 2 * t * t = area.
        public double TimeOf(double area)
        {
            if (area <= 0) return 0;
            var slope = (To - From) / (End - Start);
            return 2 * area / (From + Math.Sqrt(Math.Max(0, From * From + 2 * slope * area)));
        }

        public int CopiesAt(double moment) => (int)Math.Round(FirstCopies + (LastCopies - FirstCopies) * (moment - Start) / (End - Start));
    }
}
