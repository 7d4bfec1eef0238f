namespace FlashSale.Admission;

/// <summary>A pattern for paths. It compares as routing does: case and a slash at the end do not matter.</summary>
public sealed class PathPattern
{
    /// <summary>The form of a pattern in words, for error texts.</summary>
    public const string Rule = "a path of at most 256 characters such as /api/v1/sales/{saleId}/orders, where a segment may be {name} or *, and the last one **";

    private readonly string?[] _segments;
    private readonly bool _open;

    /// <summary>Prepares a pattern that <see cref="IsValid"/> accepts.</summary>
    public PathPattern(string pattern)
    {
        var segments = pattern.Trim('/').Split('/', StringSplitOptions.RemoveEmptyEntries);
        _open = segments is [.., "**"];
        _segments = [.. (_open ? segments[..^1] : segments).Select(segment => segment is "*" or ['{', .., '}'] ? null : segment)];
    }

    /// <summary>Whether a text is a pattern in the form of <see cref="Rule"/>.</summary>
    public static bool IsValid(string text) =>
        text is ['/', ..] and { Length: <= 256 }
        && text.Trim('/').Split('/') is var segments
        && segments.Select((segment, i) => segment is "*" || (segment is "**" && i == segments.Length - 1) || segment is ['{', _, .., '}'] || !segment.AsSpan().ContainsAny("*{}?#")).All(valid => valid)
        && segments.SkipLast(1).All(segment => segment.Length > 0);

    /// <summary>Whether a path matches the pattern.</summary>
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

    /// <summary>
    /// Whether the pattern matches at least one path of a route. The route is a template such as /a/{b}.
    /// </summary>
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
