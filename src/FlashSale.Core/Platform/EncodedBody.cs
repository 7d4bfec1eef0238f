using Microsoft.AspNetCore.Http;

namespace FlashSale.Platform;

/// <summary>
/// Recognises and refuses request bodies that are compressed, or encoded otherwise. No host decodes one, because it may
/// be a thousand times as large as it looks.
/// </summary>
public static class EncodedBody
{
    /// <summary>Whether the request's Content-Encoding names an encoding other than <c>identity</c>.</summary>
    public static bool IsIn(HttpRequest request) =>
        request.Headers.ContentEncoding is { Count: > 0 } encoding && !(encoding is [{ } one] && one.Equals("identity", StringComparison.OrdinalIgnoreCase));

    /// <summary>
    /// Refuses the request with 415. Its Accept-Encoding header says that only <c>identity</c> is taken.
    /// </summary>
    public static Task RefuseAsync(HttpContext context)
    {
        context.Response.Headers.AcceptEncoding = "identity";
        return Problems.WriteAsync(context, Problem.UnsupportedMediaType, "A body with a Content-Encoding is not taken; send it as it is.");
    }
}
