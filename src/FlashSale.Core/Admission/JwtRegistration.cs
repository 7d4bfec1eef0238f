using FlashSale.Platform;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace FlashSale.Admission;

/// <summary>Registers the verifier of shoppers' tokens in a host.</summary>
public static class JwtRegistration
{
    /// <summary>
    /// Adds <see cref="JwtVerifier"/> with the options of section <c>Jwt</c>, and follows its key files while the host
    /// runs. A host with a wrong setting or an unreadable key does not start: <see cref="InvalidSettingException"/>.
    /// </summary>
    public static IServiceCollection AddJwtVerifier(this IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddOptions<JwtOptions>().BindConfiguration(JwtOptions.Section).ValidateOnStart();
        services.AddSingleton<IValidateOptions<JwtOptions>, JwtOptionsValidator>();
        services.AddSingleton(provider => provider.GetRequiredService<IOptions<JwtOptions>>().Value);
        services.AddSingleton<JwtKeys>();
        services.AddSingleton(provider => new JwtVerifier(
            provider.GetRequiredService<JwtOptions>(), provider.GetRequiredService<JwtKeys>(), provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<JwtKeyFollower>();
        services.AddHostedService(provider => provider.GetRequiredService<JwtKeyFollower>());
        services.AddSingleton(provider => new HealthLine(() => provider.GetRequiredService<JwtKeyFollower>().Health));
        return services;
    }

    private sealed class JwtOptionsValidator : IValidateOptions<JwtOptions>
    {
        // Throws the exception that makes a host exit with code 78 and a plain text. A failed result would end in a
        // stack trace.
        public ValidateOptionsResult Validate(string? name, JwtOptions options)
        {
            JwtKeyLoader.Load(options);
            return ValidateOptionsResult.Success;
        }
    }
}
