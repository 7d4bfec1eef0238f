using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace FlashSale.Platform;

/// <summary>The value of If-Match or If-None-Match: tags, or <c>*</c> for any (RFC 9110, 13.1).</summary>
/// <param name="Tags">Those that are named; empty for any.</param>
/// <param name="IsAny">Whether it is <c>*</c>.</param>
public readonly record struct EntityTagList(IReadOnlyList<EntityTagHeaderValue> Tags, bool IsAny)
{
    /// <summary>Reads the lines of a header.</summary>
    /// <returns>False when it is no list of tags, or absent.</returns>
    public static bool TryRead(StringValues header, out EntityTagList list)
    {
        list = default;
        if (header is [var only] && only?.Trim() == "*")
        {
            list = new([], IsAny: true);
            return true;
        }
        // The parser takes "W/*", which is no tag, and "*" among tags, which may only stand alone, for "*".
        if (header.Count == 0 || !EntityTagHeaderValue.TryParseList(header, out var tags) || tags.Any(tag => tag.Tag == "*")) return false;
        list = new([.. tags], IsAny: false);
        return true;
    }

    /// <summary>Whether it names a tag, compared weakly, as If-None-Match is.</summary>
    public bool Names(string tag)
    {
        var wanted = EntityTagHeaderValue.Parse(tag);
        return IsAny || Tags.Any(known => known.Compare(wanted, useStrongComparison: false));
    }
}
