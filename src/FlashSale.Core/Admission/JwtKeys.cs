using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>
/// The keys that tokens are verified with. Each source of <see cref="JwtOptions.Keys"/> is replaced separately, so one
/// bad file does not keep the others from being followed. Thread-safe.
/// </summary>
public sealed class JwtKeys
{
    private readonly Lock _sync = new();
    private readonly JwtOptions _options;
    private readonly JwtKey[][] _bySource;
    private volatile JwtKeyRing _ring;

    /// <summary>Loads the keys of all sources.</summary>
    /// <exception cref="InvalidSettingException">
    /// A setting is wrong. The message names each wrong setting of the section, its value and the allowed ones, one a
    /// line.
    /// </exception>
    public JwtKeys(JwtOptions options)
    {
        _options = options;
        _bySource = JwtKeyLoader.Load(options);
        _ring = new JwtKeyRing([.. _bySource.SelectMany(keys => keys)]);
    }

    /// <summary>The names (<c>kid</c>) of the keys in force.</summary>
    public IEnumerable<string> Kids => _ring.Keys.Select(key => key.Kid);

    /// <summary>All keys in force at this moment.</summary>
    internal JwtKeyRing Current => _ring;

    /// <summary>
    /// Replaces the keys of a source by those of its file's new text. If the text has a fault, all keys stay as they
    /// were.
    /// </summary>
    /// <param name="source">Index in <see cref="JwtOptions.Keys"/>.</param>
    /// <param name="text">The new text of the source's file.</param>
    /// <returns>The faults of the text, one a line. Null when its keys are in force.</returns>
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

/// <summary>An immutable set of the keys in force at one moment.</summary>
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

    /// <summary>The only key of an algorithm. Null if the algorithm has no key or several.</summary>
    public JwtKey? OnlyOf(JwtAlgorithm algorithm) => _onlyOf[(int)algorithm];
}
