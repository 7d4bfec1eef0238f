using System.Buffers;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace FlashSale.Platform;

/// <summary>
/// Checks something that a host needs before it is ready. <c>Missing</c> answers null when it is there, else a
/// description of the missing thing.
/// </summary>
public sealed record ReadinessCheck(string Name, Func<string?> Missing);

/// <summary>A line on the health page, for people. It never makes a host unready.</summary>
public sealed record HealthLine(Func<string> Text);

/// <summary>The ports of this host.</summary>
/// <param name="Host">The host's own port.</param>
/// <param name="Number">The management port.</param>
public sealed record ManagementPort(int Host, int Number);

/// <summary>
/// The management port, a thousand above the host's own, with /health/live, /health/ready and /metrics. It is for
/// operators and orchestrators, so its requests bypass the host's pipeline, limits and authentication.
/// </summary>
public static class Management
{
    private const int Distance = 1_000;

    /// <summary>Adds the management port to the host's addresses.</summary>
    /// <exception cref="InvalidSettingException">The setting Urls is not one plain address with a port.</exception>
    public static void AddManagementPort(this WebApplicationBuilder builder)
    {
        var address = AddressOf(builder.Configuration);
        builder.Services.AddSingleton(new ManagementPort(address.Port, address.Port + Distance));
        builder.WebHost.UseUrls($"{address.Scheme}://{address.Host}:{address.Port}", $"{address.Scheme}://{address.Host}:{address.Port + Distance}");
    }

    /// <summary>Answers every request on the management port. Requests on other ports pass.</summary>
    public static void UseManagementPort(this WebApplication app)
    {
        var port = app.Services.GetRequiredService<ManagementPort>().Number;
        var checks = app.Services.GetServices<ReadinessCheck>().ToArray();
        var lines = app.Services.GetServices<HealthLine>().ToArray();
        var metrics = app.Services.GetService<PrometheusExporter>();
        var shutdown = app.Services.GetRequiredService<Shutdown>();
        app.Use((context, next) =>
        {
            if (context.Connection.LocalPort != port) return next(context);
            return context.Request.Path.Value switch
            {
                "/health/live" => WriteAsync(context, 200, "text/plain", "live\n"),
                "/health/ready" => ReadyAsync(context, shutdown, checks, lines),
                "/metrics" when metrics is not null => MetricsAsync(context, metrics),
                _ => Problems.WriteAsync(context, Problem.NotFound),
            };
        });
    }

    /// <summary>
    /// Asks the host that runs with the same configuration whether it is ready. This is the health check of a
    /// container.
    /// </summary>
    /// <returns>The exit code: 0 if the host is ready, else 1.</returns>
    public static async Task<int> CheckHealthAsync(IConfiguration configuration)
    {
        var port = AddressOf(configuration).Port + Distance;
        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(3) };
        try
        {
            using var response = await http.GetAsync(new Uri($"http://127.0.0.1:{port}/health/ready"));
            return response.IsSuccessStatusCode ? 0 : 1;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            return 1;
        }
    }

    private static Uri AddressOf(IConfiguration configuration)
    {
        var urls = configuration["Urls"] ?? "";
        return Uri.TryCreate(urls.Replace("://+", "://0.0.0.0", StringComparison.Ordinal).Replace("://*", "://0.0.0.0", StringComparison.Ordinal), UriKind.Absolute, out var uri)
               && uri is { Scheme: "http", Port: > 0 and <= 65_535 - Distance }
            ? uri
            : throw new InvalidSettingException($"Urls = '{urls}': allowed is one http://address:port with a port from 1 to {65_535 - Distance}.");
    }

    private static Task ReadyAsync(HttpContext context, Shutdown shutdown, ReadinessCheck[] checks, HealthLine[] lines)
    {
        var text = new StringBuilder();
        if (shutdown.HasBegun) text.Append("shutdown: this host ends, send no more requests here\n");
        foreach (var check in checks)
        {
            if (check.Missing() is { } what) text.Append(check.Name).Append(": ").Append(what).Append('\n');
        }
        var isReady = text.Length == 0;
        if (isReady) text.Append("ready\n");
        foreach (var line in lines) text.Append(line.Text()).Append('\n');
        if (!isReady) context.Response.Headers.RetryAfter = "1";
        return WriteAsync(context, isReady ? 200 : 503, "text/plain", text.ToString());
    }

    private static Task MetricsAsync(HttpContext context, PrometheusExporter metrics)
    {
        var buffer = new ArrayBufferWriter<byte>(16 * 1024);
        metrics.WriteTo(buffer);
        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        return context.Response.Body.WriteAsync(buffer.WrittenMemory).AsTask();
    }

    private static Task WriteAsync(HttpContext context, int status, string type, string text)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = type;
        context.Response.Headers.CacheControl = "no-store";
        return context.Response.WriteAsync(text);
    }
}
