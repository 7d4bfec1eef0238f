using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Api.Protection;

/// <summary>
/// Stands before every request that is not a purchase. It checks for features that are switched off, for load that is
/// too high, and for the rate limits. The purchase path makes the same checks in its own order.
/// </summary>
public sealed class RequestGuard(Degradation degradation, LoadShedder shedder, RequestLimiter limiter, JwtVerifier tokens)
{
    /// <summary>The answer to a request that a rate limit refuses.</summary>
    public static readonly Problem RateLimited = new(429, "rate_limited", "You are sending more requests than you may.");

    /// <summary>The answer to a request that comes while too much is under way.</summary>
    public static readonly Problem Overloaded = new(503, "overloaded", "There is more to do than can be done right now. Nothing was done for this request.");

    private static readonly PathPattern SaleList = new("/api/v1/sales");
    private static readonly PathPattern OrderList = new("/api/v1/orders");
    private static readonly PathPattern OrderStream = new("/api/v1/orders/{orderId}/events");

    /// <summary>Runs as middleware: refuses a request or passes it on.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        var isRead = HttpMethods.IsGet(context.Request.Method);
        var isStream = isRead && OrderStream.Matches(context.Request.Path);
        // A client of a stream gives up for good after an error. It is asked to come back later instead.
        if (isStream && degradation.IsOff(Features.LiveFigures))
        {
            await EventStream.DeferAsync(context);
            return;
        }
        if (isRead && SwitchedOff(context.Request.Path) is { } feature)
        {
            await Problems.WriteAsync(context, Problem.TemporarilyUnavailable, $"'{feature}' is switched off until the load is lower.");
            return;
        }
        // Only reads are refused for load. Payments and cancellations of orders that exist matter as much as purchases.
        var isPeriphery = isRead;
        if (isPeriphery && !shedder.TryEnterPeriphery())
        {
            await (isStream ? EventStream.DeferAsync(context) : Problems.WriteAsync(context, Overloaded));
            return;
        }
        var place = isPeriphery ? TakePlace(context) : null;
        try
        {
            if (await IsLimitedAsync(context)) return;
            await next(context);
        }
        finally
        {
            place?.Leave();
        }
    }

    /// <summary>Describes a request to the rate limits.</summary>
    /// <param name="context">The request.</param>
    /// <param name="user">Hash of the user id of a verified token, or null.</param>
    /// <param name="client">Hash of the client of a verified token, or 0.</param>
    public static LimitedRequest Describe(HttpContext context, ulong? user, ulong client) =>
        new(context.Request.Method, context.Request.Path.Value ?? "", context.Connection.RemoteIpAddress, user, client == 0 ? null : client);

    /// <summary>
    /// Writes the decision of the limits: the headers RateLimit-Policy and RateLimit, and the 429 if a rule refuses.
    /// </summary>
    /// <returns>Whether a rule refused, and the answer is written.</returns>
    public static ValueTask<bool> WriteAsync(HttpContext context, LimitLease lease)
    {
        if (lease.Policy is null) return new(false);
        context.Response.Headers["RateLimit-Policy"] = lease.Policy;
        context.Response.Headers["RateLimit"] = lease.State;
        return lease.IsRefused ? RefuseAsync(context, lease) : new(false);

        static async ValueTask<bool> RefuseAsync(HttpContext context, LimitLease lease)
        {
            // A random second more keeps clients that were refused together from coming back together.
            await Problems.WriteAsync(context, RateLimited, retryAfterSeconds: lease.RetryAfterSeconds + Random.Shared.Next(2));
            return true;
        }
    }

    private PeripheryPlace TakePlace(HttpContext context)
    {
        var place = new PeripheryPlace(shedder);
        context.Features.Set(place);
        context.Response.OnStarting(static state =>
        {
            ((PeripheryPlace)state).Leave();
            return Task.CompletedTask;
        }, place);
        return place;
    }

    private async ValueTask<bool> IsLimitedAsync(HttpContext context)
    {
        ulong? user = tokens.Verify(context.Request.Headers.Authorization.ToString(), out var userId, out var client) is JwtResult.Ok ? Fingerprints.OfUser(userId) : null;
        var lease = await limiter.DecideAsync(Describe(context, user, client));
        return await WriteAsync(context, lease);
    }

    private string? SwitchedOff(PathString path)
    {
        if (degradation.State.Off is Features.None) return null;
        var feature = SaleList.Matches(path) ? Features.SaleLists : OrderList.Matches(path) ? Features.OrderHistory : Features.None;
        return degradation.IsOff(feature) ? SwitchDocument.Known.First(known => known.Feature == feature).Name : null;
    }
}
