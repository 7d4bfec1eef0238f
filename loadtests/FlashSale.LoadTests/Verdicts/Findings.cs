namespace FlashSale.LoadTests.Verdicts;

/// <summary>What a fault may have cost, beyond which the promises hold as always.</summary>
[Flags]
public enum Loss
{
    /// <summary>Every acceptance is an order.</summary>
    None = 0,

    /// <summary>Redis lost its disk: acceptances that had not reached Postgres may be gone.</summary>
    Acceptances = 1,

    /// <summary>Redis forgot what it had sold: acceptances may turn out rejected.</summary>
    Rejections = 2,
}

/// <summary>Broken promises: all are counted, the first of each promise are told.</summary>
public sealed class Findings
{
    private const int MostTold = 30;

    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly List<string> _lines = [];

    /// <summary>How often each promise (I1 to I8) was found broken.</summary>
    public IReadOnlyDictionary<string, long> Counts => _counts;

    /// <summary>"I3: …", the first 30 of each promise.</summary>
    public IReadOnlyList<string> Lines => _lines;

    /// <summary>Adds one.</summary>
    /// <param name="promise">I1 to I8.</param>
    /// <param name="what">What is wrong, with the figures that show it.</param>
    public void Add(string promise, string what)
    {
        var count = _counts[promise] = _counts.GetValueOrDefault(promise) + 1;
        if (count <= MostTold) _lines.Add($"{promise}: {what}");
    }

    /// <summary>Takes over what is told and counted elsewhere, but for some promises.</summary>
    public void AddRange(Findings others, params string[] except)
    {
        foreach (var (promise, count) in others._counts.Where(pair => !except.Contains(pair.Key))) _counts[promise] = _counts.GetValueOrDefault(promise) + count;
        _lines.AddRange(others._lines.Where(line => !except.Contains(line[..2])));
    }
}
