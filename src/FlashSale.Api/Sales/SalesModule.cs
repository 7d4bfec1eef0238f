using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Api.Sales;

/// <summary>Adds the catalog and the sale pages to the host.</summary>
public static class SalesModule
{
    /// <summary>Registers the feed and the pages. The host is not ready before it has a first snapshot.</summary>
    public static void AddSales(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<CatalogFeed>();
        builder.Services.AddHostedService(services =>
        {
            // The storefront follows the feed, so it must exist before the first snapshot.
            services.GetRequiredService<Storefront>();
            return services.GetRequiredService<CatalogFeed>();
        });
        builder.Services.AddSingleton<SaleLooks>();
        builder.Services.AddSingleton<SalePages>();
        builder.Services.AddSingleton(services =>
        {
            var feed = services.GetRequiredService<CatalogFeed>();
            return new ReadinessCheck("catalog", () => feed.IsReady ? null : "no snapshot of the published sales yet");
        });
    }

    /// <summary>Maps the two sale pages.</summary>
    public static void MapSales(this WebApplication app) => SalePages.Map(app);
}
