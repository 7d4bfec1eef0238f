using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Api.Admission;

/// <summary>Puts the blocklist into the host.</summary>
public static class BlocklistModule
{
    /// <summary>Registers the feed. The host is ready once it has read all of the list.</summary>
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
