using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace FlashSale.Platform;

/// <summary>
/// Sets the headers that tell a browser to trust no more of an answer than it must. They are set before anything else
/// sees the request, so that every answer has them, refusals too. Code that serves pages replaces the content security
/// policy by its own.
/// </summary>
/// <param name="options">Tells whether the host is reached by https only.</param>
public sealed class SecurityHeaders(TransportOptions options) : IStartupFilter
{
    private const string ContentSecurityPolicy = "Content-Security-Policy";
    private const string ContentTypeOptions = "X-Content-Type-Options";
    private const string ReferrerPolicy = "Referrer-Policy";
    private const string ResourcePolicy = "Cross-Origin-Resource-Policy";

    // A JSON answer loads nothing and belongs into no frame.
    private static readonly StringValues NothingElse = "default-src 'none'; frame-ancestors 'none'";
    private static readonly StringValues AsDeclared = "nosniff";
    private static readonly StringValues None = "no-referrer";

    // Scripts of the allowed origins make CORS requests, which this header does not concern.
    private static readonly StringValues SameOrigin = "same-origin";
    private static readonly StringValues ForAYear = "max-age=31536000";

    private readonly bool _strict = options.StrictTransportSecurity;

    /// <summary>Adds the headers to an answer.</summary>
    public void AddTo(IHeaderDictionary headers)
    {
        headers[ContentTypeOptions] = AsDeclared;
        headers[ContentSecurityPolicy] = NothingElse;
        headers[ReferrerPolicy] = None;
        headers[ResourcePolicy] = SameOrigin;
        if (_strict) headers.StrictTransportSecurity = ForAYear;
    }

    /// <inheritdoc />
    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use(following => context =>
        {
            AddTo(context.Response.Headers);
            return following(context);
        });
        next(app);
    };
}
