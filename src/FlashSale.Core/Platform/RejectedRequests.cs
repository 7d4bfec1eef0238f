using System.Buffers;
using System.Diagnostics;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace FlashSale.Platform;

/// <summary>
/// Answers with a problem when the server rejects input before there is a request: a path that cannot be decoded,
/// headers that are too large. No middleware sees those. The server tells of them by a diagnostic event. It sends its
/// own answer, which has no body, only if the response has not started when the event returns.
/// </summary>
public sealed class RejectedRequests(SecurityHeaders security, CrossOrigin? origins) : IObserver<KeyValuePair<string, object?>>
{
    private const string EventName = "Microsoft.AspNetCore.Server.Kestrel.BadRequest";

    private static readonly Problem AddressTooLong = new(414, "address_too_long", "The address of the request is too long.");
    private static readonly Problem HeadersTooLarge = new(431, "headers_too_large", "The headers of the request are too large.");

    /// <summary>Subscribes to the server's event.</summary>
    public static void Answer(WebApplication app) =>
        app.Services.GetRequiredService<DiagnosticListener>().Subscribe(
            new RejectedRequests(app.Services.GetRequiredService<SecurityHeaders>(), app.Services.GetService<CrossOrigin>()),
            static (name, _, _) => name == EventName);

    /// <inheritdoc />
    public void OnNext(KeyValuePair<string, object?> value)
    {
        if (value.Key != EventName || value.Value is not IFeatureCollection features) return;
        if (features.Get<IBadRequestExceptionFeature>()?.Error is not BadHttpRequestException rejection) return;
        if (features.Get<IHttpResponseFeature>() is not { HasStarted: false } response || features.Get<IHttpResponseBodyFeature>() is not { } body) return;
        if (features.Get<IConnectionTransportFeature>()?.Transport.Output is not { } output) return;

        var problem = Of(rejection.StatusCode);
        var traceId = features.Get<IHttpRequestIdentifierFeature>()?.TraceIdentifier ?? "";
        byte[] json = [.. problem.Head, .. Encoding.ASCII.GetBytes(traceId), .. "\"}"u8];
        response.StatusCode = problem.Status;
        response.Headers.ContentType = "application/problem+json";
        response.Headers.ContentLength = json.Length;
        response.Headers.Connection = "close";
        security.AddTo(response.Headers);
        origins?.AddToRejection(features.Get<IHttpRequestFeature>()?.Headers, response.Headers);
        // There is no body writer without a request. So the server starts the response, and the body follows it into
        // the same pipe. Both complete at once, since nothing else is in that pipe.
        _ = body.StartAsync();
        output.Write(json);
        _ = output.FlushAsync().AsTask();
    }

    /// <inheritdoc />
    public void OnCompleted()
    {
        // The process ends.
    }

    /// <inheritdoc />
    public void OnError(Exception error)
    {
        // Diagnostic listeners never call this.
    }

    private static Problem Of(int status) => status switch
    {
        400 => Problem.InvalidRequest,
        408 => Problem.RequestTimeout,
        413 => Problem.BodyTooLarge,
        414 => AddressTooLong,
        431 => HeadersTooLarge,
        _ => new Problem(status, Problem.InvalidRequest.Code, Problem.InvalidRequest.Title),
    };
}
