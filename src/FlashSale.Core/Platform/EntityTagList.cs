using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;

namespace FlashSale.Platform;

/// <summary>The value of If-Match or If-None-Match: tags, or <c>*</c> for any (RFC 9110, 13.1).</summary>
/// <param name="Tags">The tags that the header names. The list is empty if the header is <c>*</c>.</param>
/// <param name="IsAny">Whether the header is <c>*</c>.</param>
public readonly record struct EntityTagList(IReadOnlyList<EntityTagHeaderValue> Tags, bool IsAny)
{
    /// <summary>Reads the lines of a header.</summary>
    /// <returns>False when the header is absent or not a list of tags.</returns>
    public static bool TryRead(StringValues header, out EntityTagList list)
    {
        list = default;
        if (header is [var only] && only?.Trim() == "*")
        {
            list = new([], IsAny: true);
            return true;
        }
        // The parser takes "W/*", which is not a tag, for "*". It does the same with "*" among tags, where "*" must not
        // stand.
        if (header.Count == 0 || !EntityTagHeaderValue.TryParseList(header, out var tags) || tags.Any(tag => tag.Tag == "*")) return false;
        list = new([.. tags], IsAny: false);
        return true;
    }

    /// <summary>Whether the header names a tag. Tags are compared weakly, as If-None-Match demands.</summary>
    public bool Names(string tag)
    {
        var wanted = EntityTagHeaderValue.Parse(tag);
        return IsAny || Tags.Any(known => known.Compare(wanted, useStrongComparison: false));
    }
}
