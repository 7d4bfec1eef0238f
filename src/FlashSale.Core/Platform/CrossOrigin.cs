using System.Collections.Frozen;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Platform;

/// <summary>The other origins from which scripts may call the host. Section <c>Cors</c>.</summary>
public sealed class CorsOptions
{
    /// <summary>
    /// The origins, each spelled as browsers send it: <c>https://shop.example</c>, with a port where it is not the
    /// scheme's own. The list is empty by default. A wildcard is never allowed.
    /// </summary>
    public IReadOnlyList<string> Origins { get; set; } = [];

    /// <summary>Checks the origins.</summary>
    /// <exception cref="InvalidSettingException">An entry is not an origin of the form
    /// http(s)://host[:port].</exception>
    public void Check()
    {
        for (var i = 0; i < Origins.Count; i++)
        {
            if (!Uri.TryCreate(Origins[i], UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || uri.GetLeftPart(UriPartial.Authority) != Origins[i] || uri.UserInfo.Length > 0)
                throw new InvalidSettingException($"Cors:Origins:{i} = '{Origins[i]}': allowed is an origin as browsers send it, http(s)://host[:port], without a path.");
        }
    }
}

/// <summary>
/// Answers cross-origin requests (CORS) of the allowed origins. The middleware stands before routing, because the
/// purchase path does too. Tokens travel in the Authorization header, so browsers need to send no cookies, and
/// credentials are never allowed.
/// </summary>
public sealed class CrossOrigin(CorsOptions options)
{
    private const string NotAllowed =
        "A browser asks whether a script of another origin may call. The origins that may are the setting Cors:Origins, and this one is not among them.";

    private static readonly StringValues Methods = "GET, POST";
    private static readonly StringValues RequestHeaders =
        "Authorization, Content-Type, Idempotency-Key, Purchase-Ticket, If-None-Match, Last-Event-ID, traceparent";
    private static readonly StringValues AnswerHeaders =
        "Location, Retry-After, Idempotency-Replayed, RateLimit, RateLimit-Policy, ETag, Date";
    private static readonly StringValues Seconds = "600";
    private static readonly StringValues Origin = "Origin";
    private static readonly StringValues Any = "*";

    private readonly FrozenDictionary<string, StringValues> _origins =
        options.Origins.ToFrozenDictionary(origin => origin, origin => new StringValues(origin), StringComparer.Ordinal);

    /// <summary>
    /// The middleware. It answers preflights: those of allowed origins with 204, all others with 405. It adds the CORS
    /// headers to the other answers to allowed origins.
    /// </summary>
    public RequestDelegate Before(RequestDelegate next) => context =>
    {
        var (request, headers) = (context.Request, context.Response.Headers);
        // Requests without an Origin header get it too. Otherwise a shared cache could hand the answer for one origin
        // to another.
        if (_origins.Count > 0) headers.Vary = Origin;
        var isPreflight = IsPreflight(request);
        if (request.Headers.Origin is not [{ } from] || !_origins.TryGetValue(from, out var allowed))
            return isPreflight ? Problems.WriteAsync(context, Problem.MethodNotAllowed, NotAllowed) : next(context);
        headers.AccessControlAllowOrigin = allowed;
        if (isPreflight)
        {
            headers.AccessControlAllowMethods = Methods;
            headers.AccessControlAllowHeaders = RequestHeaders;
            headers.AccessControlMaxAge = Seconds;
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return Task.CompletedTask;
        }
        headers.AccessControlExposeHeaders = AnswerHeaders;
        return next(context);
    };

    /// <summary>
    /// Adds the CORS headers to the answer to a request that the server could not read to its end. The request's Origin
    /// header may be among the parts that were not read. Such an answer holds nothing secret, so any origin may read it
    /// then.
    /// </summary>
    /// <param name="request">The request's header fields that were read.</param>
    /// <param name="answer">The answer's header fields.</param>
    public void AddToRejection(IHeaderDictionary? request, IHeaderDictionary answer)
    {
        if (_origins.Count == 0) return;
        answer.Vary = Origin;
        var from = request?.Origin ?? StringValues.Empty;
        if (from.Count == 0) answer.AccessControlAllowOrigin = Any;
        else if (from is [{ } one] && _origins.TryGetValue(one, out var allowed)) answer.AccessControlAllowOrigin = allowed;
        else return;
        answer.AccessControlExposeHeaders = AnswerHeaders;
    }

    private static bool IsPreflight(HttpRequest request) =>
        HttpMethods.IsOptions(request.Method) && request.Headers.AccessControlRequestMethod.Count > 0;
}

/// <summary>Adds cross-origin requests to a host.</summary>
public static class CrossOriginRegistration
{
    /// <summary>Reads section <c>Cors</c>.</summary>
    /// <exception cref="InvalidSettingException">An entry is not an origin of the form
    /// http(s)://host[:port].</exception>
    public static void AddCrossOrigin(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<CorsOptions>(builder.Configuration, "Cors").Check();
        builder.Services.AddSingleton<CrossOrigin>();
    }

    /// <summary>Adds the middleware at this place of the pipeline.</summary>
    public static void UseCrossOrigin(this WebApplication app) => app.Use(app.Services.GetRequiredService<CrossOrigin>().Before);
}
