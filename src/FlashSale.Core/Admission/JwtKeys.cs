using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>
/// The keys that tokens are verified with. Each source of <see cref="JwtOptions.Keys"/> is replaced by itself, so one bad file keeps
/// no other from being followed. Thread-safe.
/// </summary>
public sealed class JwtKeys
{
    private readonly Lock _sync = new();
    private readonly JwtOptions _options;
    private readonly JwtKey[][] _bySource;
    private volatile JwtKeyRing _ring;

    /// <summary>Loads all sources.</summary>
    /// <exception cref="InvalidSettingException">Names each wrong setting of the section, its value and the allowed ones, one a line.</exception>
    public JwtKeys(JwtOptions options)
    {
        _options = options;
        _bySource = JwtKeyLoader.Load(options);
        _ring = new JwtKeyRing([.. _bySource.SelectMany(keys => keys)]);
    }

    /// <summary>The names of the keys in force.</summary>
    public IEnumerable<string> Kids => _ring.Keys.Select(key => key.Kid);

    /// <summary>All keys in force, as of one moment.</summary>
    internal JwtKeyRing Current => _ring;

    /// <summary>Puts the keys of a source's new text in the place of those it had, or leaves all as it was.</summary>
    /// <param name="source">Index in <see cref="JwtOptions.Keys"/>.</param>
    /// <param name="text">The text of its file.</param>
    /// <returns>What is wrong with the text, one fault a line; null when its keys are in force.</returns>
    public string? Replace(int source, string text)
    {
        lock (_sync)
        {
            var others = _bySource.Where((_, i) => i != source).SelectMany(keys => keys);
            var read = JwtKeyLoader.Read(_options.Keys[source], source, others, text);
            if (read.Errors.Count > 0) return string.Join('\n', read.Errors);
            _bySource[source] = [.. read.Keys];
            _ring = new JwtKeyRing([.. _bySource.SelectMany(keys => keys)]);
            return null;
        }
    }
}

/// <summary>The keys in force at one moment.</summary>
internal sealed class JwtKeyRing
{
    private readonly JwtKey?[] _onlyOf = new JwtKey?[Enum.GetValues<JwtAlgorithm>().Length];

    public JwtKeyRing(JwtKey[] keys)
    {
        Keys = keys;
        foreach (var group in keys.GroupBy(key => key.Algorithm))
        {
            _onlyOf[(int)group.Key] = group.Count() == 1 ? group.First() : null;
        }
    }

    public JwtKey[] Keys { get; }

    /// <summary>The key of an algorithm that has exactly one.</summary>
    public JwtKey? OnlyOf(JwtAlgorithm algorithm) => _onlyOf[(int)algorithm];
}
