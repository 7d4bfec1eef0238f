using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// Ends a host after SIGTERM. The host says that it is not ready, and goes on answering for
/// <c>Transport:DrainSeconds</c> so that load balancers send new requests elsewhere. Then it closes its port and lets
/// the requests under way finish.
/// </summary>
public sealed partial class Shutdown(
    TransportOptions options, IHostApplicationLifetime lifetime, TimeProvider time, ILogger<Shutdown> logger) : IHostedLifecycleService
{
    // The default drain of 2 s and this are ten seconds in all. Container engines kill after ten seconds by default.
    private const int FinishSeconds = 8;

    /// <summary>Whether the host has been told to end.</summary>
    public bool HasBegun => lifetime.ApplicationStopping.IsCancellationRequested;

    /// <summary>
    /// Adds the shutdown to a host. It must be added before the services that must not end before the drain is over.
    /// </summary>
    internal static void AddTo(WebApplicationBuilder builder, TransportOptions options)
    {
        builder.Services.AddSingleton<Shutdown>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Shutdown>());
        builder.Services.Configure<HostOptions>(host =>
            host.ShutdownTimeout = TimeSpan.FromSeconds(options.DrainSeconds + FinishSeconds));
    }

    /// <summary>Waits for as long as load balancers need. No service is told to end before that.</summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        LogDrains(options.DrainSeconds);
        await Task.Delay(TimeSpan.FromSeconds(options.DrainSeconds), time, cancellationToken);
    }

    /// <inheritdoc />
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc />
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc />
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc />
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc />
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    [LoggerMessage(1, LogLevel.Information, "Ends: not ready any more, and the port closes in {Seconds} s")]
    private partial void LogDrains(int seconds);
}
