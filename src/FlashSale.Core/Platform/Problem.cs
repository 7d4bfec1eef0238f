using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// One error of a request: its place (a member or header, or a line of a file) and a text that says how it would be
/// right.
/// </summary>
public readonly record struct ProblemError(string Field, string Message)
{
    /// <summary>The line of a file, from 1. If it is set, <see cref="Field"/> is not shown.</summary>
    public int? Line { get; init; }

    /// <summary>Makes an error in a line of a file.</summary>
    public static ProblemError InLine(int line, string message) => new("", message) { Line = line };
}

/// <summary>An answer that is an error, after RFC 9457 with a stable code.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Code">The code that clients switch on. It never changes.</param>
/// <param name="Title">The same sentence for every occurrence of the code.</param>
public sealed record Problem(int Status, string Code, string Title)
{
    /// <summary>The host does not understand the request.</summary>
    public static readonly Problem InvalidRequest = new(400, "invalid_request", "The request is not valid.");

    /// <summary>The request has no credentials, or they are wrong or expired.</summary>
    public static readonly Problem Unauthenticated = new(401, "unauthenticated", "A valid bearer token is required.");

    /// <summary>There is no such path.</summary>
    public static readonly Problem NotFound = new(404, "not_found", "There is nothing at this address.");

    /// <summary>The path exists, but not for this method.</summary>
    public static readonly Problem MethodNotAllowed = new(405, "method_not_allowed", "This address does not take that method.");

    /// <summary>The request came too slowly, or not to its end.</summary>
    public static readonly Problem RequestTimeout = new(408, "request_timeout", "The request did not arrive in time.");

    /// <summary>The body is too large.</summary>
    public static readonly Problem BodyTooLarge = new(413, "body_too_large", "The request body is too large.");

    /// <summary>The body is of another media type.</summary>
    public static readonly Problem UnsupportedMediaType = new(415, "unsupported_media_type", "The request body is of the wrong media type.");

    /// <summary>The host has a defect.</summary>
    public static readonly Problem Internal = new(500, "internal_error", "Something went wrong on our side.");

    /// <summary>A store is away. Nothing was done.</summary>
    public static readonly Problem TemporarilyUnavailable = new(503, "temporarily_unavailable", "This cannot be done right now.");

    /// <summary>
    /// The body up to the traceId. It is made once, because most answers of a sold-out sale consist of it.
    /// </summary>
    internal byte[] Head { get; } =
        Encoding.UTF8.GetBytes($"{{\"type\":\"urn:flashsale:problem:{Code}\",\"title\":\"{Title}\",\"status\":{Status},\"code\":\"{Code}\",\"traceId\":\"");

    /// <summary>Whether a client is asked to come again.</summary>
    public bool AsksToRetry => Status is 429 or 503;
}

/// <summary>Writes problems.</summary>
public static class Problems
{
    private const string ContentType = "application/problem+json";

    // No host has a smaller limit, so a body up to this size never exceeds one.
    private const long LargeBody = 8 * 1024;

    private static long _refusals;

    /// <summary>
    /// Answers with a problem. Answers 429 and 503 get a Retry-After with jitter and must not be stored.
    /// </summary>
    /// <param name="context">The request.</param>
    /// <param name="problem">The kind of error.</param>
    /// <param name="detail">A text about this occurrence.</param>
    /// <param name="errors">The single errors of the request, for <see cref="Problem.InvalidRequest"/>.</param>
    /// <param name="retryAfterSeconds">Seconds of the Retry-After header. The default is 1 to 3 for 429 and 503, and no
    /// such header for others.</param>
    /// <param name="members">Writes members that only this problem has.</param>
    public static async Task WriteAsync(HttpContext context, Problem problem, string? detail = null, IReadOnlyList<ProblemError>? errors = null, int? retryAfterSeconds = null,
        Action<Utf8JsonWriter>? members = null)
    {
        var response = context.Response;
        if (response.HasStarted) return;
        response.StatusCode = problem.Status;
        response.ContentType = ContentType;
        if (problem.AsksToRetry)
        {
            response.Headers.RetryAfter = (retryAfterSeconds ?? Random.Shared.Next(1, 4)).ToString();
            response.Headers.CacheControl = "no-store";
        }
        else if (retryAfterSeconds is { } seconds)
        {
            response.Headers.RetryAfter = seconds.ToString();
        }
        if (problem.Status == 401 && response.Headers.WWWAuthenticate.Count == 0) response.Headers.WWWAuthenticate = "Bearer";
        if (context.Request.ContentLength > LargeBody) LetTheRestCome(context);

        if (detail is null && errors is null && members is null)
        {
            response.ContentLength = WriteBare(response.BodyWriter, problem.Head, context.Connection.Id);
            await response.BodyWriter.FlushAsync();
            return;
        }
        await using var json = new Utf8JsonWriter(response.BodyWriter);
        json.WriteStartObject();
        json.WriteString("type", $"urn:flashsale:problem:{problem.Code}");
        json.WriteString("title", problem.Title);
        json.WriteNumber("status", problem.Status);
        json.WriteString("code", problem.Code);
        if (detail is not null) json.WriteString("detail", detail);
        if (errors is not null)
        {
            json.WriteStartArray("errors");
            foreach (var error in errors)
            {
                json.WriteStartObject();
                if (error.Line is { } line) json.WriteNumber("line", line);
                else json.WriteString("field", error.Field);
                json.WriteString("message", error.Message);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        members?.Invoke(json);
        json.WriteString("traceId", TraceIdOf(context));
        json.WriteEndObject();
        await json.FlushAsync();
        await response.BodyWriter.FlushAsync();
    }

    /// <summary>
    /// Answers for an exception: a request that cannot be read, a store that is away, or a defect. A defect is logged
    /// and never shown.
    /// </summary>
    public static Task FailAsync(HttpContext context, Exception exception, ILogger logger)
    {
        // A client that leaves is not a failure, no matter how far its answer had come.
        if (context.RequestAborted.IsCancellationRequested && IsOfLeaving(exception)) return Task.CompletedTask;
        if (context.Response.HasStarted)
        {
            // The answer has begun, so it is too late for a problem. The abort tells the client that it has not got the
            // whole answer.
            ProblemLog.Failed(logger, context.Request.Path, TraceIdOf(context), exception);
            context.Abort();
            return Task.CompletedTask;
        }
        switch (exception)
        {
            case BadHttpRequestException { StatusCode: 408 }:
                return WriteAsync(context, Problem.RequestTimeout);
            case BadHttpRequestException { StatusCode: 413 }:
                return WriteAsync(context, Problem.BodyTooLarge);
            case BadHttpRequestException { StatusCode: 415 }:
                return WriteAsync(context, Problem.UnsupportedMediaType);
            case BadHttpRequestException:
                return WriteAsync(context, Problem.InvalidRequest,
                    errors: [new("body", exception.InnerException is JsonException ? "must be a JSON object of the documented members" : "could not be read")]);
            case DependencyRejectedException:
                // Rejections are counted and not logged, because there may be thousands a second.
                return WriteAsync(context, Problem.TemporarilyUnavailable, "A store that is needed for this has too much to do, or does not answer. Nothing was done.");
            case DependencyTimeoutException:
                ProblemLog.StoreAway(logger, context.Request.Path, TraceIdOf(context), exception);
                return WriteAsync(context, Problem.TemporarilyUnavailable, "A part may have been done; repeat the request.");
            case RedisUnavailableException or RedisOutcomeUnknownException:
            case var away when Postgres.IsTransient(away):
                ProblemLog.StoreAway(logger, context.Request.Path, TraceIdOf(context), exception);
                return WriteAsync(context, Problem.TemporarilyUnavailable,
                    exception is RedisOutcomeUnknownException ? "A part may have been done; repeat the request." : "A store that is needed for this does not answer.");
            default:
                ProblemLog.Failed(logger, context.Request.Path, TraceIdOf(context), exception);
                return WriteAsync(context, Problem.Internal, "It was logged under this trace id.");
        }
    }

    // A library may wrap the cancellation, or the end of the connection, in an exception of its own.
    private static bool IsOfLeaving(Exception exception) =>
        exception is OperationCanceledException or IOException || exception.InnerException is { } inner && IsOfLeaving(inner);

    // A client that is still sending must be able to read its refusal. When a body exceeds a limit, the server closes
    // the connection at once, and the reset overtakes the answer. Without a limit the server reads on for five seconds
    // at most, and throws the rest away.
    private static void LetTheRestCome(HttpContext context)
    {
        if (context.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = null;
    }

    private static string TraceIdOf(HttpContext context) => Activity.Current?.TraceId.ToString() ?? context.TraceIdentifier;

    // The host logs nothing about a bare refusal, so its trace id need only be unique. Made here, in bytes, it leaves
    // no garbage.
    private static int WriteBare(PipeWriter writer, byte[] head, string connectionId)
    {
        var body = writer.GetSpan(head.Length + connectionId.Length + 1 + 16 + 2);
        head.CopyTo(body);
        var length = head.Length + Encoding.ASCII.GetBytes(connectionId, body[head.Length..]);
        body[length++] = (byte)'-';
        Utf8Formatter.TryFormat(Interlocked.Increment(ref _refusals), body[length..], out var digits, new StandardFormat('x'));
        length += digits;
        "\"}"u8.CopyTo(body[length..]);
        writer.Advance(length + 2);
        return length + 2;
    }

    /// <summary>
    /// Turns every error of the pipeline behind it into a problem: unknown paths, wrong methods, requests that the
    /// framework could not read, stores that are away, and exceptions.
    /// </summary>
    public static IApplicationBuilder UseProblems(this IApplicationBuilder app, ILogger logger) => app.Use(async (context, next) =>
    {
        if (EncodedBody.IsIn(context.Request))
        {
            await EncodedBody.RefuseAsync(context);
            return;
        }
        try
        {
            await next(context);
        }
        catch (Exception e)
        {
            await FailAsync(context, e, logger);
            return;
        }
        // Routing knows these endpoints as GET only, but each of them takes HEAD too.
        if (context.Response is { StatusCode: 405, HasStarted: false } refused && refused.Headers.Allow is [{ } allow] && allow.Contains("GET", StringComparison.Ordinal))
            refused.Headers.Allow = $"{allow}, HEAD";
        if (context.Response is { HasStarted: false, ContentLength: null or 0, ContentType: null, StatusCode: >= 400 } response)
        {
            await WriteAsync(context, response.StatusCode switch
            {
                401 => Problem.Unauthenticated,
                404 => Problem.NotFound,
                405 => Problem.MethodNotAllowed,
                408 => Problem.RequestTimeout,
                413 => Problem.BodyTooLarge,
                415 => Problem.UnsupportedMediaType,
                >= 500 => Problem.Internal,
                _ => Problem.InvalidRequest,
            });
        }
    });
}

internal static partial class ProblemLog
{
    [LoggerMessage(1, LogLevel.Error, "{Path} failed, trace {TraceId}")]
    public static partial void Failed(ILogger logger, PathString path, string traceId, Exception e);

    [LoggerMessage(2, LogLevel.Warning, "{Path} needs a store that is away, trace {TraceId}")]
    public static partial void StoreAway(ILogger logger, PathString path, string traceId, Exception e);
}
