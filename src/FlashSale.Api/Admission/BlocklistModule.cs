using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Api.Admission;

/// <summary>Adds the blocklist to the host.</summary>
public static class BlocklistModule
{
    /// <summary>
    /// Registers the feed that follows the blocklist in Redis. The host is not ready before the feed has read the whole
    /// list.
    /// </summary>
    public static void AddBlocklist(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<BlocklistFeed>();
        builder.Services.AddHostedService(services => services.GetRequiredService<BlocklistFeed>());
        builder.Services.AddSingleton(services =>
        {
            var feed = services.GetRequiredService<BlocklistFeed>();
            return new ReadinessCheck("blocklist", () => feed.IsReady ? null : "not read yet");
        });
    }
}
