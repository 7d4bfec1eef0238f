using System.Globalization;
using FlashSale.Platform;
using Microsoft.Net.Http.Headers;

namespace FlashSale.Admin.Http;

/// <summary>Marks an endpoint that takes If-Match, for the OpenAPI document.</summary>
public sealed record TakesIfMatch;

/// <summary>
/// ETag, If-None-Match and If-Match. A tag is the version of the page's subject. After a hyphen it holds anything else
/// that the page depends on. If-Match compares the version alone.
/// </summary>
public static class EntityTags
{
    private static readonly ProblemError NoTag = new(HeaderNames.IfMatch, "must be the ETag of an earlier answer, several of them, or *");

    /// <summary>Gives an answer its tag. A GET of a client that has the page already gets 304 instead.</summary>
    public static IResult Tagged(this HttpContext context, string tag, IResult answer)
    {
        context.Tag(tag);
        if (!HttpMethods.IsGet(context.Request.Method)) return answer;
        return EntityTagList.TryRead(context.Request.Headers.IfNoneMatch, out var known) && known.Names($"\"{tag}\"")
            ? Results.StatusCode(StatusCodes.Status304NotModified)
            : answer;
    }

    /// <summary>Gives an answer its tag. A client may keep the answer, and must ask again before it uses it.</summary>
    public static void Tag(this HttpContext context, string tag)
    {
        context.Response.Headers.ETag = $"\"{tag}\"";
        context.Response.Headers.CacheControl = "private, no-cache";
    }

    /// <summary>Reads If-Match. False when the header is not valid.</summary>
    /// <param name="request">The request.</param>
    /// <param name="versions">The versions that may be changed. Null for any.</param>
    /// <param name="error">The error of the header, when the result is false.</param>
    public static bool TryReadIfMatch(this HttpRequest request, out IReadOnlyList<long>? versions, out ProblemError error)
    {
        (versions, error) = (null, NoTag);
        if (request.Headers.IfMatch.Count == 0) return true;
        if (!EntityTagList.TryRead(request.Headers.IfMatch, out var list)) return false;
        if (!list.IsAny) versions = [.. list.Tags.Select(VersionOf)];
        return true;
    }

    // A tag of another form matches no version.
    private static long VersionOf(EntityTagHeaderValue tag)
    {
        var text = tag.Tag.ToString().Trim('"').Split('-')[0];
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : -1;
    }
}
