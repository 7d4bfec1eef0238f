using Microsoft.AspNetCore.Http;

namespace FlashSale.Platform;

/// <summary>A request body that is compressed, or encoded otherwise. No host decodes one: it may be a thousand times as large as it looks.</summary>
public static class EncodedBody
{
    /// <summary>Whether a request says that it has one.</summary>
    public static bool IsIn(HttpRequest request) =>
        request.Headers.ContentEncoding is { Count: > 0 } encoding && !(encoding is [{ } one] && one.Equals("identity", StringComparison.OrdinalIgnoreCase));

    /// <summary>Refuses it, and says what is taken.</summary>
    public static Task RefuseAsync(HttpContext context)
    {
        context.Response.Headers.AcceptEncoding = "identity";
        return Problems.WriteAsync(context, Problem.UnsupportedMediaType, "A body with a Content-Encoding is not taken; send it as it is.");
    }
}
