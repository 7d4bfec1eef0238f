using System.ComponentModel.DataAnnotations;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace FlashSale.Platform;

/// <summary>
/// Limits of the share of a host that one client, or all of them together, may take before there is a request. Section
/// <c>Transport</c>.
/// </summary>
public sealed class TransportOptions
{
    /// <summary>
    /// Most connections at once. Connections beyond it are closed at once. The limit is nine tenths of the files that
    /// the process may open if that is less. The management port is not counted.
    /// </summary>
    [Range(1, 1_000_000)]
    public int MaxConnections { get; set; } = 20_000;

    /// <summary>How long a request's headers may take from their first byte, in seconds.</summary>
    [Range(1, 120)]
    public int HeadersTimeoutSeconds { get; set; } = 10;

    /// <summary>
    /// How long a connection may be idle, before its first request or between two, in seconds. It is longer than the
    /// load balancer in front keeps its own idle connections (60 s, as a rule), so that the host is never the end that
    /// closes.
    /// </summary>
    [Range(1, 3_600)]
    public int KeepAliveSeconds { get; set; } = 75;

    /// <summary>Lowest rate at which a request's body may come in, in bytes a second.</summary>
    [Range(1, 1_000_000)]
    public int MinRequestBytesPerSecond { get; set; } = 240;

    /// <summary>Lowest rate at which a client may take an answer, in bytes a second.</summary>
    [Range(1, 1_000_000)]
    public int MinResponseBytesPerSecond { get; set; } = 240;

    /// <summary>How long a body or an answer may be slower than that, in seconds.</summary>
    [Range(2, 60)]
    public int RateGraceSeconds { get; set; } = 3;

    /// <summary>Most headers of a request.</summary>
    [Range(16, 1_000)]
    public int MaxHeaders { get; set; } = 64;

    /// <summary>Most bytes of all headers of a request.</summary>
    [Range(4_096, Transport.BufferBytes)]
    public int MaxHeaderBytes { get; set; } = 16 * 1024;

    /// <summary>Largest body of a request, in bytes, where an endpoint does not set its own.</summary>
    [Range(8_192, 1_048_576)]
    public int MaxBodyBytes { get; set; } = 16 * 1024;

    /// <summary>
    /// How long a host that was told to end goes on answering while it says that it is not ready, in seconds. Load
    /// balancers need that time to notice. Then the port closes, and requests under way may take eight seconds more.
    /// </summary>
    [Range(0, 300)]
    public int DrainSeconds { get; set; } = 2;

    /// <summary>
    /// Whether browsers are told to come by https only, for a year. This is for hosts that shoppers reach through a TLS
    /// proxy.
    /// </summary>
    public bool StrictTransportSecurity { get; set; }
}

/// <summary>
/// Sets the server's limits. Clients that are slow, large or many are cut off before they cost others anything.
/// </summary>
public static class Transport
{
    /// <summary>
    /// Most bytes that the server keeps of a connection's input beyond the bytes that were read. Multiplied by the
    /// number of connections, it bounds the server's memory.
    /// </summary>
    internal const int BufferBytes = 64 * 1024;

    /// <summary>
    /// Reads section <c>Transport</c> and applies it to all ports. The limit of connections does not apply to the
    /// management port.
    /// </summary>
    /// <exception cref="InvalidSettingException">A value lies outside its range.</exception>
    public static void AddTransport(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<TransportOptions>(builder.Configuration, "Transport");
        builder.Services.AddSingleton<ConnectionCap>();
        builder.Services.AddSingleton<SecurityHeaders>();
        builder.Services.AddSingleton<IStartupFilter>(services => services.GetRequiredService<SecurityHeaders>());
        builder.Services.AddSingleton<IStartupFilter, HeadRequests>();
        Shutdown.AddTo(builder, options);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            SetLimits(kestrel.Limits, options);
            var management = kestrel.ApplicationServices.GetRequiredService<ManagementPort>().Number;
            var cap = kestrel.ApplicationServices.GetRequiredService<ConnectionCap>();
            // The server's own limit would count all ports together, but a full host must still answer on its
            // management port.
            kestrel.ConfigureEndpointDefaults(endpoint =>
            {
                if (endpoint.IPEndPoint?.Port != management) endpoint.Use(cap.Before);
            });
        });
    }

    /// <summary>
    /// Lets the thread that a connection woke read, answer and send its requests, instead of handing them on twice.
    /// That saves a sixth of the cost of a refusal, and a tenth of the cost of a purchase. It is for a host with
    /// requests that never block.
    /// </summary>
    public static void AnswerInPlace(this WebApplicationBuilder builder) =>
        builder.WebHost.UseSockets(sockets => sockets.UnsafePreferInlineScheduling = true);

    private static void SetLimits(KestrelServerLimits limits, TransportOptions options)
    {
        var grace = TimeSpan.FromSeconds(options.RateGraceSeconds);
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(options.HeadersTimeoutSeconds);
        limits.KeepAliveTimeout = TimeSpan.FromSeconds(options.KeepAliveSeconds);
        limits.MinRequestBodyDataRate = new MinDataRate(options.MinRequestBytesPerSecond, grace);
        limits.MinResponseDataRate = new MinDataRate(options.MinResponseBytesPerSecond, grace);
        limits.MaxRequestHeaderCount = options.MaxHeaders;
        limits.MaxRequestHeadersTotalSize = options.MaxHeaderBytes;
        limits.MaxRequestBodySize = options.MaxBodyBytes;
        limits.MaxRequestBufferSize = BufferBytes;
    }
}
