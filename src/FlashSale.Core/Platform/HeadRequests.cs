using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace FlashSale.Platform;

/// <summary>HEAD wherever GET is (RFC 9110, 9.1): routed as GET, and Kestrel leaves out the body.</summary>
public static class HeadRequests
{
    /// <summary>Routes; a HEAD finds the endpoint of the GET, and is a HEAD again behind routing.</summary>
    public static void UseRoutingWithHead(this WebApplication app)
    {
        app.Use(static (context, next) =>
        {
            if (!HttpMethods.IsHead(context.Request.Method)) return next(context);
            context.Items[typeof(HeadRequests)] = true;
            context.Request.Method = HttpMethods.Get;
            return next(context);
        });
        app.UseRouting();
        app.Use(static (context, next) =>
        {
            if (context.Items.ContainsKey(typeof(HeadRequests))) context.Request.Method = HttpMethods.Head;
            return next(context);
        });
    }
}
