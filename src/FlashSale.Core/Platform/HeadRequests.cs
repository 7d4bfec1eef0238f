using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace FlashSale.Platform;

/// <summary>
/// Answers HEAD wherever a host answers GET, on every port. Everything behind this filter takes the request for a GET,
/// limits included. The server has read the method itself, so it sends the head alone.
/// </summary>
public sealed class HeadRequests : IStartupFilter
{
    private static readonly Mark Marked = new();

    /// <inheritdoc />
    public Action<IApplicationBuilder> Configure(Action<IApplicationBuilder> next) => app =>
    {
        app.Use(following => context =>
        {
            if (HttpMethods.IsHead(context.Request.Method))
            {
                context.Request.Method = HttpMethods.Get;
                context.Features.Set(Marked);
            }
            return following(context);
        });
        next(app);
    };

    /// <summary>
    /// Whether the client asked for the head alone. An endpoint with a long or endless body need not make it then.
    /// </summary>
    public static bool IsHead(HttpContext context) => context.Features.Get<Mark>() is not null;

    private sealed class Mark;
}
