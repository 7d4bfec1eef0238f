using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Platform;

/// <summary>
/// An answer of server-sent events (text/event-stream), as EventSource clients in browsers read it. Such a client comes
/// back by itself after an end, gives up for good after an error status, and stops after 204. So a stream that cannot be
/// had right now is a 200 that ends at once and names a time to come back.
/// </summary>
public static class EventStream
{
    // The clients of a node that ends come back spread over some seconds.
    private const int RetryFromMilliseconds = 2_000;
    private const int RetryToMilliseconds = 5_000;

    private const int DeferFromMilliseconds = 20_000;
    private const int DeferToMilliseconds = 40_000;

    // no-transform: a proxy that compresses would hold events back until it has enough of them.
    private static readonly StringValues NotStored = "no-store, no-transform";
    private static readonly StringValues No = "no";

    /// <summary>Sends the head, and after how long a client comes back when the stream ends.</summary>
    public static Task BeginAsync(HttpContext context) =>
        BeginAsync(context, Random.Shared.Next(RetryFromMilliseconds, RetryToMilliseconds));

    /// <summary>Sends an event.</summary>
    /// <param name="context">A stream that has begun.</param>
    /// <param name="name">Of the event.</param>
    /// <param name="id">A client that comes back names the latest it has got.</param>
    /// <param name="data">One line.</param>
    public static Task SendAsync(HttpContext context, string name, string id, string data) =>
        WriteAsync(context, $"event: {name}\nid: {id}\ndata: {data}\n\n");

    /// <summary>Sends a comment: it keeps proxies from closing the stream, and finds out whether the client is still there.</summary>
    public static Task KeepAliveAsync(HttpContext context) => WriteAsync(context, ": still here\n\n");

    /// <summary>Answers that the stream can be had later: the client comes back in half a minute.</summary>
    public static Task DeferAsync(HttpContext context) =>
        BeginAsync(context, Random.Shared.Next(DeferFromMilliseconds, DeferToMilliseconds));

    /// <summary>Whether the client has got an event already.</summary>
    public static bool HasSeen(HttpContext context, string id) =>
        context.Request.Headers["Last-Event-ID"] is [{ } seen] && seen == id;

    /// <summary>Answers that nothing more will come.</summary>
    public static void Stop(HttpContext context)
    {
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        context.Response.Headers.CacheControl = NotStored;
    }

    private static Task BeginAsync(HttpContext context, int retryMilliseconds)
    {
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = NotStored;
        // nginx would collect events until it has a buffer full of them.
        response.Headers["X-Accel-Buffering"] = No;
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        return WriteAsync(context, $"retry: {retryMilliseconds}\n\n");
    }

    // Without the token of the request: an answer to a client that has left is dropped, and need not fail.
    private static async Task WriteAsync(HttpContext context, string text)
    {
        await context.Response.WriteAsync(text);
        await context.Response.Body.FlushAsync();
    }
}
