using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Platform;

/// <summary>
/// Writes answers of server-sent events (text/event-stream) for EventSource clients in browsers. Such a client comes
/// back by itself after the stream ends, gives up for good after an error status, and stops after 204. So a host that
/// cannot serve a stream right now answers 200, names a time to come back, and ends the stream at once.
/// </summary>
public static class EventStream
{
    // The time is random, so that the clients of a node that ends come back spread over some seconds.
    private const int RetryFromMilliseconds = 2_000;
    private const int RetryToMilliseconds = 5_000;

    private const int DeferFromMilliseconds = 20_000;
    private const int DeferToMilliseconds = 40_000;

    // no-transform keeps proxies from compressing. A proxy that compresses would hold events back until it has enough
    // of them.
    private static readonly StringValues NotStored = "no-store, no-transform";
    private static readonly StringValues No = "no";

    /// <summary>Sends the head, and the time after which a client comes back when the stream ends: 2 to 5 s.</summary>
    public static Task BeginAsync(HttpContext context) =>
        BeginAsync(context, Random.Shared.Next(RetryFromMilliseconds, RetryToMilliseconds));

    /// <summary>Sends an event.</summary>
    /// <param name="context">The request of a stream that has begun.</param>
    /// <param name="name">Name of the event.</param>
    /// <param name="id">Id of the event. A client that comes back names the latest id that it has got.</param>
    /// <param name="data">The event's data, one line.</param>
    public static Task SendAsync(HttpContext context, string name, string id, string data) =>
        WriteAsync(context, $"event: {name}\nid: {id}\ndata: {data}\n\n");

    /// <summary>
    /// Sends a comment. It keeps proxies from closing the stream, and shows whether the client is still there.
    /// </summary>
    public static Task KeepAliveAsync(HttpContext context) => WriteAsync(context, ": still here\n\n");

    /// <summary>Answers that the stream can be had later. The client comes back after 20 to 40 s.</summary>
    public static Task DeferAsync(HttpContext context) =>
        BeginAsync(context, Random.Shared.Next(DeferFromMilliseconds, DeferToMilliseconds));

    /// <summary>Whether the client's Last-Event-ID says that it has got this event already.</summary>
    public static bool HasSeen(HttpContext context, string id) =>
        context.Request.Headers["Last-Event-ID"] is [{ } seen] && seen == id;

    /// <summary>Answers 204: nothing more will come, and the client stops.</summary>
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
        // Without this header nginx would collect events until it has a buffer full of them.
        response.Headers["X-Accel-Buffering"] = No;
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        return WriteAsync(context, $"retry: {retryMilliseconds}\n\n");
    }

    // The write does not take the request's token. The server drops an answer to a client that has left, so the write
    // need not fail.
    private static async Task WriteAsync(HttpContext context, string text)
    {
        await context.Response.WriteAsync(text);
        await context.Response.Body.FlushAsync();
    }
}
