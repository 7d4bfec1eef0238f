using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace FlashSale.Platform;

/// <summary>
/// HEAD wherever GET is, on every port: the request is taken for a GET by all that follows, limits included, and the
/// server, which read the method itself, sends the head alone.
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

    /// <summary>Whether the client asked for the head alone: an endpoint whose body is long or endless need not make it.</summary>
    public static bool IsHead(HttpContext context) => context.Features.Get<Mark>() is not null;

    private sealed class Mark;
}
