using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Api.Protection;

/// <summary>Adds limits, shedding and degradation to the host.</summary>
public static class ProtectionModule
{
    /// <summary>
    /// Registers the services. The host is not ready before it has read the operators' limits and switches once.
    /// </summary>
    public static void AddProtection(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<SheddingOptions>(builder.Configuration, "Shedding");
        builder.Services.AddSettings<DegradationOptions>(builder.Configuration, "Degradation");
        builder.AddTrustedProxies();
        var limits = builder.Services.AddSettings<LimitOptions>(builder.Configuration, "Limits").Read();
        builder.Services.AddSingleton<LoadShedder>();
        builder.Services.AddSingleton(services =>
        {
            var redis = services.GetRequiredService<RedisConnection>();
            return new Degradation(services.GetRequiredService<DegradationOptions>(), () => redis.NowMilliseconds);
        });
        builder.Services.AddSingleton<ClusterBuckets>();
        builder.Services.AddSingleton(services => new RequestLimiter(limits, services.GetRequiredService<ClusterBuckets>()));
        builder.Services.AddSingleton<RequestGuard>();
        builder.Services.AddHostedService<PressureGauge>();
        builder.Services.AddSingleton<OpsFeed>();
        builder.Services.AddHostedService(services =>
        {
            var feed = services.GetRequiredService<OpsFeed>();
            var limiter = services.GetRequiredService<RequestLimiter>();
            var degradation = services.GetRequiredService<Degradation>();
            feed.Follow(OpsSettings.Limits, json => limiter.Follow(Checked(json, LimitDocument.Parse)));
            feed.Follow(OpsSettings.Switches, json => degradation.Follow(Checked(json, SwitchDocument.Parse)));
            return feed;
        });
        builder.Services.AddHostedService<NodeReport>();
        builder.Services.AddSingleton(services =>
        {
            var feed = services.GetRequiredService<OpsFeed>();
            return new ReadinessCheck("ops", () => feed.IsReady ? null : "has not looked at limits and switches yet");
        });
        builder.Services.AddSingleton(services =>
        {
            var degradation = services.GetRequiredService<Degradation>();
            return new HealthLine(() => $"degradation level {degradation.State.Level} since {DateTimeOffset.FromUnixTimeMilliseconds(degradation.State.Since):yyyy-MM-ddTHH:mm:ssZ}: {degradation.State.Cause}");
        });
    }

    /// <summary>Puts <see cref="RequestGuard"/> before everything but purchases.</summary>
    public static void UseProtection(this WebApplication app) => app.Use(app.Services.GetRequiredService<RequestGuard>().InvokeAsync);

    private delegate T Parser<T>(ReadOnlySpan<byte> json, List<ProblemError> errors);

    private static T Checked<T>(byte[] json, Parser<T> parse)
    {
        var errors = new List<ProblemError>();
        var document = parse(json, errors);
        return errors.Count == 0 ? document : throw new FormatException($"line {errors[0].Line}: {errors[0].Message}");
    }
}
