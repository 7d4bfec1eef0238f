using System.Text.Json.Serialization;
using FlashSale.Admission;
using FlashSale.Api.Orders;
using FlashSale.Api.Sales;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Platform;
using Npgsql;
using PaymentService = FlashSale.Orders.Payments;

namespace FlashSale.Api.Payments;

/// <summary>The page on which the shopper pays, and the time until which the order can be paid.</summary>
public sealed record PaymentPage(string PaymentUrl, string PayBy);

/// <summary>POST /api/v1/orders/{orderId}/payment: tells a shopper where to pay an order.</summary>
public static partial class PaymentEndpoints
{
    private const int SecondsUntilStored = 1;

    private static readonly Problem NotPayable = new(409, "order_not_payable", "The order cannot be paid.");
    private static readonly Problem ProviderAway = new(503, "temporarily_unavailable", "Payments cannot be started right now.");

    /// <summary>
    /// Registers the payment provider, the payments and the webhook. Settings of the webhook: section <c>Webhook</c>.
    /// </summary>
    public static void AddPayments(this WebApplicationBuilder builder)
    {
        builder.AddPaymentProvider();
        var webhook = builder.Services.AddSettings<WebhookOptions>(builder.Configuration, "Webhook");
        builder.Services.AddSingleton(webhook.Read(TimeProvider.System));
        builder.Services.AddSingleton<PaymentService>();
        builder.Services.AddSingleton(services => new PaymentNotices(
            services.GetRequiredService<NpgsqlDataSource>(), services.GetRequiredService<RedisConnection>(), webhook.RefundsReturnUnits));
    }

    /// <summary>Maps the payment endpoint and the webhook.</summary>
    public static void MapPayments(this WebApplication app)
    {
        app.MapPost("/api/v1/orders/{orderId}/payment", StartAsync).WithSummary("Where and until when to pay an order").Produces<PaymentPage>().ProducesErrors(401, 404, 409, 429, 503);
        WebhookEndpoint.Map(app);
    }

    private static async Task StartAsync(
        HttpContext context, string orderId, JwtVerifier tokens, OrderReader orders, Storefront storefront, PaymentService payments, ILogger<PaymentProvider> logger)
    {
        if (await OrderEndpoints.FindAsync(context, orderId, tokens, orders, storefront) is not { } order) return;
        if (order.Status is OrderStatus.Accepted)
        {
            await Problems.WriteAsync(context, NotPayable, "The order is being stored. Try again in a moment.", retryAfterSeconds: SecondsUntilStored);
            return;
        }
        try
        {
            if (await payments.StartAsync(order.OrderId, context.RequestAborted) is not { } payment)
            {
                await Problems.WriteAsync(context, NotPayable, "It does not wait for a payment, or the time to pay is over.");
                return;
            }
            context.Response.Headers.CacheControl = "no-store";
            await context.Response.WriteAsJsonAsync(
                new PaymentPage(payment.PaymentUrl, Timestamps.Text(payment.PayBy)), PaymentsJson.Default.PaymentPage, cancellationToken: context.RequestAborted);
        }
        catch (PaymentProviderException e)
        {
            if (e.IsTransient) LogAway(logger, order.OrderId, e.Message);
            else LogRefused(logger, order.OrderId, e.Message);
            await Problems.WriteAsync(context, ProviderAway, "The payment provider does not answer as it should. Nothing was paid.");
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The payment of order {OrderId} cannot be started: {Reason}")]
    private static partial void LogAway(ILogger logger, Guid orderId, string reason);

    [LoggerMessage(2, LogLevel.Error, "The provider refuses to make a payment of order {OrderId}: {Reason}")]
    private static partial void LogRefused(ILogger logger, Guid orderId, string reason);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(PaymentPage))]
internal sealed partial class PaymentsJson : JsonSerializerContext;
