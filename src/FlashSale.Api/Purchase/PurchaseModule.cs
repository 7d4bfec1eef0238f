using FlashSale.Admission;
using FlashSale.Api.Admission;
using FlashSale.Api.Sales;
using FlashSale.Platform;
using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>Adds the purchase path to the host.</summary>
public static class PurchaseModule
{
    /// <summary>
    /// Registers the services of the path. The host is not ready before the path is warmed up. Settings: section
    /// <c>Purchase</c>.
    /// </summary>
    public static void AddPurchases(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<PurchaseOptions>(builder.Configuration, "Purchase");
        builder.AddRedisDependency();
        builder.Services.AddJwtVerifier();
        builder.Services.AddSingleton<ReserveScript>();
        builder.Services.AddSingleton<ScriptFigures>();
        builder.Services.AddSingleton<Storefront>();
        builder.Services.AddSingleton<PurchaseMetrics>();
        builder.Services.AddSingleton<PurchaseEndpoint>();
        builder.Services.AddSingleton<PurchaseWarmUp>();
        builder.Services.AddHostedService(services => services.GetRequiredService<PurchaseWarmUp>());
        builder.Services.AddSingleton(services =>
        {
            var warmUp = services.GetRequiredService<PurchaseWarmUp>();
            return new ReadinessCheck("purchases", () => warmUp.IsDone ? null : "not warmed up yet");
        });
    }

    /// <summary>Lets <see cref="PurchaseEndpoint"/> answer purchases before routing.</summary>
    public static void UsePurchases(this WebApplication app) => app.Use(app.Services.GetRequiredService<PurchaseEndpoint>().Before);

    /// <summary>Maps the same endpoint for routing and OpenAPI.</summary>
    public static void MapPurchases(this WebApplication app) =>
        app.MapPost("/api/v1/sales/{saleId}/orders", (HttpContext context, PurchaseEndpoint purchases) => purchases.HandleAsync(context))
            .WithSummary("Buys: one order for each Idempotency-Key")
            .Accepts<PurchaseForm>("application/json").Produces<AcceptedForm>(StatusCodes.Status202Accepted).ProducesErrors(OpenApi.PurchaseErrors).TakesIdempotencyKey().TakesTicket()
            .ProducesHeader(202, "Location", "Where the order can be seen: the statusUrl.").ProducesHeader(202, "Idempotency-Replayed", "true, where an earlier purchase with this key is answered again.");
}
