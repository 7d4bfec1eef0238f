using System.Buffers.Text;
using System.Text.Json.Serialization;
using FlashSale.Admission;
using FlashSale.Api.Admission;
using FlashSale.Api.Protection;
using FlashSale.Api.Sales;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Platform;
using Microsoft.OpenApi;

namespace FlashSale.Api.Orders;

/// <summary>An order as its owner sees it.</summary>
public sealed record OrderPage(
    Guid OrderId, string SaleId, string Sku, int Quantity, Money Amount, string Status, string? Reason,
    string AcceptedAt, string? PlacedAt, string? PayBy, string? PaidAt, string? ClosedAt)
{
    /// <summary>Makes the page of an order.</summary>
    public static OrderPage Of(Order order) => new(
        order.OrderId, order.SaleId, order.Sku, order.Quantity, new Money(order.Amount, order.Currency), order.Status.Text(), order.Reason,
        Timestamps.Text(order.AcceptedAt), Text(order.PlacedAt), Text(order.PayBy), Text(order.PaidAt), Text(order.ClosedAt));

    private static string? Text(DateTimeOffset? time) => time is { } at ? Timestamps.Text(at) : null;
}

/// <summary>A page of the caller's orders. NextCursor is null on the last page.</summary>
public sealed record OrderList(IReadOnlyList<OrderPage> Orders, string? NextCursor);

/// <summary>
/// GET /api/v1/orders, /api/v1/orders/{orderId} and its events, and POST /api/v1/orders/{orderId}/cancel: a shopper's
/// own orders.
/// </summary>
public static class OrderEndpoints
{
    private const int DefaultLimit = 20;
    private const int MaxLimit = 100;

    // An order in flight usually reaches Postgres within a second.
    private const int RetryInFlightAfterSeconds = 1;

    private const string SlowPollSeconds = "5";

    private static readonly Problem OrderNotFound = new(404, "order_not_found", "You have no such order.");
    private static readonly Problem NotCancellable = new(409, "order_not_cancellable", "The order cannot be cancelled.");

    /// <summary>Registers the services of the endpoints. Settings: section <c>Orders</c>.</summary>
    public static void AddOrders(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<OrderOptions>(builder.Configuration, "Orders");
        builder.AddPostgresDependency();
        builder.Services.AddSingleton<OrderReader>();
        builder.Services.AddSingleton<OrderMoves>();
        builder.Services.AddSingleton<OrderAnnouncements>();
        builder.Services.AddSingleton<StreamPlaces>();
        builder.Services.AddSingleton<OrderEvents>();
    }

    /// <summary>Maps the four endpoints.</summary>
    public static void MapOrders(this WebApplication app)
    {
        app.MapGet("/api/v1/orders", ListAsync).WithSummary("The caller's orders, newest first").Produces<OrderList>().ProducesErrors(400, 401, 429, 503)
            .Takes(ParameterLocation.Query, "limit", $"Orders of a page, {DefaultLimit} by default.",
                new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int32", Minimum = "1", Maximum = $"{MaxLimit}" })
            .Takes(ParameterLocation.Query, "cursor", "The nextCursor of an earlier page.", ApiDocument.Of(JsonSchemaType.String));
        app.MapGet("/api/v1/orders/{orderId}", ShowAsync).WithSummary("An order, from the moment of its acceptance").Produces<OrderPage>().ProducesErrors(OpenApi.OrderErrors);
        app.MapGet("/api/v1/orders/{orderId}/events", StreamAsync).WithSummary("An order's statuses as they change").Produces<string>(contentType: "text/event-stream").Produces(204)
            .ProducesErrors(OpenApi.OrderErrors)
            .Takes(ParameterLocation.Header, "Last-Event-ID", "The id of the last event that the client has.", ApiDocument.Of(JsonSchemaType.String));
        app.MapPost("/api/v1/orders/{orderId}/cancel", CancelAsync).WithSummary("Cancels an order that is not paid").Produces<OrderPage>().ProducesErrors([.. OpenApi.OrderErrors, 409]);
    }

    private static async Task ListAsync(HttpContext context, JwtVerifier tokens, OrderReader orders)
    {
        if (!await AuthenticateAsync(context, tokens, out var userId)) return;
        var errors = new List<ProblemError>();
        var limit = DefaultLimit;
        if (context.Request.Query["limit"] is [var limitText] && (!int.TryParse(limitText, out limit) || limit is < 1 or > MaxLimit))
            errors.Add(new("limit", $"must be an integer from 1 to {MaxLimit}"));
        Guid? before = null;
        if (context.Request.Query["cursor"] is [var cursor] && !TryReadCursor(cursor, out before))
            errors.Add(new("cursor", "must be the nextCursor of an earlier answer"));
        if (errors.Count > 0)
        {
            await Problems.WriteAsync(context, Problem.InvalidRequest, errors: errors);
            return;
        }
        var found = await orders.OfUserAsync(userId, limit + 1, before, context.RequestAborted);
        var page = found.Take(limit).Select(OrderPage.Of).ToList();
        var next = found.Count > limit ? Base64Url.EncodeToString(page[^1].OrderId.ToByteArray(bigEndian: true)) : null;
        await context.Response.WriteAsJsonAsync(new OrderList(page, next), OrdersJson.Default.OrderList, cancellationToken: context.RequestAborted);
    }

    private static async Task ShowAsync(HttpContext context, string orderId, JwtVerifier tokens, OrderReader orders, Storefront storefront, Degradation degradation)
    {
        if (await FindAsync(context, orderId, tokens, orders, storefront) is not { } order) return;
        if (degradation.IsOff(Features.FastPolling) && !order.Status.IsFinal()) context.Response.Headers.RetryAfter = SlowPollSeconds;
        context.Response.Headers.CacheControl = "no-store";
        await context.Response.WriteAsJsonAsync(OrderPage.Of(order), OrdersJson.Default.OrderPage, cancellationToken: context.RequestAborted);
    }

    private static async Task StreamAsync(
        HttpContext context, string orderId, JwtVerifier tokens, OrderReader orders, Storefront storefront, OrderEvents events)
    {
        if (await FindAsync(context, orderId, tokens, orders, storefront) is { } order) await events.StreamAsync(context, order);
    }

    private static async Task CancelAsync(
        HttpContext context, string orderId, JwtVerifier tokens, OrderReader orders, Storefront storefront, OrderMoves moves, OrderOptions options,
        [FromKeyedServices(Dependency.Postgres)] Dependency postgres)
    {
        if (await FindAsync(context, orderId, tokens, orders, storefront) is not { } order) return;
        // An order that Redis has in flight may be in Postgres already, and the row in Postgres decides. A client that
        // leaves does not end the cancellation, which is one short transaction.
        var outcome = order.Status is OrderStatus.Accepted or OrderStatus.PendingPayment
            ? await postgres.OnceAsync(static async (call, cancellation) => await call.moves.CancelAsync(call.order, call.options.MaxCancellations, cancellation),
                (moves, order, options), CancellationToken.None)
            : CancelOutcome.NotCancellable;
        if (outcome is CancelOutcome.Cancelled) orders.Changed(order.OrderId, order.UserId);
        if (outcome is CancelOutcome.TooMany)
        {
            await Problems.WriteAsync(context, NotCancellable,
                $"You have cancelled {options.MaxCancellations} orders of this sale, and may cancel no more; an order that is not paid expires by itself.");
            return;
        }
        if (outcome is CancelOutcome.Busy)
        {
            await Problems.WriteAsync(context, Problem.TemporarilyUnavailable, "The sale is being loaded anew. The order stays as it is; repeat the request.");
            return;
        }
        // Read from Postgres, because Redis may have the order in flight for another moment.
        var now = await orders.FindStoredAsync(order.OrderId, context.RequestAborted) ?? order;
        // A repeated request finds the order cancelled, and gets the same answer.
        if (outcome is CancelOutcome.Cancelled || now.Status is OrderStatus.Cancelled)
        {
            context.Response.Headers.CacheControl = "no-store";
            await context.Response.WriteAsJsonAsync(OrderPage.Of(now), OrdersJson.Default.OrderPage, cancellationToken: context.RequestAborted);
            return;
        }
        await Problems.WriteAsync(context, NotCancellable, $"The order is {now.Status.Text()}.", retryAfterSeconds: now.Status is OrderStatus.Accepted ? RetryInFlightAfterSeconds : null);
    }

    // Another user's order is answered like one that does not exist. When this returns null, the problem is written
    // already.
    internal static async Task<Order?> FindAsync(HttpContext context, string orderId, JwtVerifier tokens, OrderReader orders, Storefront storefront)
    {
        if (!await AuthenticateAsync(context, tokens, out var userId)) return null;
        if (Guid.TryParseExact(orderId, "D", out var id) && OrderId.TryGetSaleNumber(id, out var number)
            && await orders.FindAsync(id, storefront.Find(number)?.Published.SaleId ?? $"s{number}", context.RequestAborted,
                resting: () => context.Features.Get<PeripheryPlace>()?.Leave()) is { } order && order.UserId == userId)
            return order;
        await Problems.WriteAsync(context, OrderNotFound);
        return null;
    }

    private static ValueTask<bool> AuthenticateAsync(HttpContext context, JwtVerifier tokens, out string userId)
    {
        var result = tokens.Verify(context.Request.Headers.Authorization.ToString(), out userId);
        return result is JwtResult.Ok ? new(true) : RefuseAsync(context, result);

        static async ValueTask<bool> RefuseAsync(HttpContext context, JwtResult result)
        {
            await RefusedTokens.RefuseAsync(context, result);
            return false;
        }
    }

    private static bool TryReadCursor(string? text, out Guid? orderId)
    {
        Span<byte> bytes = stackalloc byte[16];
        orderId = null;
        if (text?.Length != 22 || !Base64Url.IsValid(text) || !Base64Url.TryDecodeFromChars(text, bytes, out var length) || length != 16) return false;
        orderId = new Guid(bytes, bigEndian: true);
        return true;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(OrderList))]
[JsonSerializable(typeof(OrderPage))]
internal sealed partial class OrdersJson : JsonSerializerContext;
