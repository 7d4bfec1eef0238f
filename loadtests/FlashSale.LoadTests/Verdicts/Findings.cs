namespace FlashSale.LoadTests.Verdicts;

/// <summary>The loss that a fault may cause. All other promises hold as always.</summary>
[Flags]
public enum Loss
{
    /// <summary>No loss: every acceptance is an order.</summary>
    None = 0,

    /// <summary>Redis lost its disk. Acceptances that had not reached Postgres may be gone.</summary>
    Acceptances = 1,

    /// <summary>Redis forgot the units that it had sold. Acceptances may turn out rejected.</summary>
    Rejections = 2,
}

/// <summary>Broken promises. All are counted, and the first 30 of each promise are reported.</summary>
public sealed class Findings
{
    private const int MostTold = 30;

    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly List<string> _lines = [];

    /// <summary>Number of times that each promise (I1 to I8) was found broken.</summary>
    public IReadOnlyDictionary<string, long> Counts => _counts;

    /// <summary>Lines such as "I3: …", the first 30 of each promise.</summary>
    public IReadOnlyList<string> Lines => _lines;

    /// <summary>Adds a broken promise.</summary>
    /// <param name="promise">I1 to I8.</param>
    /// <param name="what">Description of the fault, with the figures that show it.</param>
    public void Add(string promise, string what)
    {
        var count = _counts[promise] = _counts.GetValueOrDefault(promise) + 1;
        if (count <= MostTold) _lines.Add($"{promise}: {what}");
    }

    /// <summary>Adds the lines and counts of other findings, except those of the given promises.</summary>
    public void AddRange(Findings others, params string[] except)
    {
        foreach (var (promise, count) in others._counts.Where(pair => !except.Contains(pair.Key))) _counts[promise] = _counts.GetValueOrDefault(promise) + count;
        _lines.AddRange(others._lines.Where(line => !except.Contains(line[..2])));
    }
}
