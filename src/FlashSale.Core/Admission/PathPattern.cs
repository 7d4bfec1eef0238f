namespace FlashSale.Admission;

/// <summary>A pattern for paths, compared as routing compares them: without regard to case or a slash at the end.</summary>
public sealed class PathPattern
{
    /// <summary>What a pattern must be.</summary>
    public const string Rule = "a path of at most 256 characters such as /api/v1/sales/{saleId}/orders, where a segment may be {name} or *, and the last one **";

    private readonly string?[] _segments;
    private readonly bool _open;

    /// <summary>Takes a valid pattern.</summary>
    public PathPattern(string pattern)
    {
        var segments = pattern.Trim('/').Split('/', StringSplitOptions.RemoveEmptyEntries);
        _open = segments is [.., "**"];
        _segments = [.. (_open ? segments[..^1] : segments).Select(segment => segment is "*" or ['{', .., '}'] ? null : segment)];
    }

    /// <summary>Whether a text is a pattern.</summary>
    public static bool IsValid(string text) =>
        text is ['/', ..] and { Length: <= 256 }
        && text.Trim('/').Split('/') is var segments
        && segments.Select((segment, i) => segment is "*" || (segment is "**" && i == segments.Length - 1) || segment is ['{', _, .., '}'] || !segment.AsSpan().ContainsAny("*{}?#")).All(valid => valid)
        && segments.SkipLast(1).All(segment => segment.Length > 0);

    /// <summary>Whether a path matches.</summary>
    public bool Matches(ReadOnlySpan<char> path)
    {
        path = path.Trim('/');
        foreach (var segment in _segments)
        {
            if (path.IsEmpty) return false;
            var end = path.IndexOf('/');
            var part = end < 0 ? path : path[..end];
            if (segment is not null && !part.Equals(segment, StringComparison.OrdinalIgnoreCase)) return false;
            path = end < 0 ? default : path[(end + 1)..];
        }
        return _open || path.IsEmpty;
    }

    /// <summary>Whether some path of a route, given as a template such as /a/{b}, matches.</summary>
    public bool Overlaps(string route)
    {
        var parts = route.Trim('/').Split('/');
        if (parts.Length < _segments.Length || (parts.Length > _segments.Length && !_open)) return false;
        for (var i = 0; i < _segments.Length; i++)
        {
            if (_segments[i] is { } segment && parts[i] is not ['{', ..] && !parts[i].Equals(segment, StringComparison.OrdinalIgnoreCase)) return false;
        }
        return true;
    }
}
