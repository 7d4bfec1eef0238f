using FlashSale.Platform;
using Microsoft.AspNetCore.HttpOverrides;

namespace FlashSale.Api.Protection;

/// <summary>The proxies in front of this host. Section <c>Proxies</c>.</summary>
public sealed class ProxyOptions
{
    /// <summary>
    /// Networks of the proxies in front of this host. Only they are believed when they name a client in
    /// X-Forwarded-For.
    /// </summary>
    public List<string> Networks { get; set; } = [];
}

/// <summary>
/// Finds the address of the client behind trusted proxies. X-Forwarded-For is read from its end, hop by hop, as long as
/// each hop is a proxy of <c>Proxies:Networks</c>. The client itself may have written the entries before that.
/// </summary>
public static class TrustedProxies
{
    /// <summary>Reads and checks the networks.</summary>
    /// <exception cref="InvalidSettingException">An entry is not a network of the form 10.0.0.0/8.</exception>
    public static void AddTrustedProxies(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<ProxyOptions>(builder.Configuration, "Proxies");
        for (var i = 0; i < options.Networks.Count; i++)
        {
            if (!System.Net.IPNetwork.TryParse(options.Networks[i], out _))
                throw new InvalidSettingException($"Proxies:Networks:{i} = '{options.Networks[i]}': allowed is a network such as 10.0.0.0/8.");
        }
    }

    /// <summary>
    /// Puts the client's address in the place of the proxy's. Without configured proxies nothing changes.
    /// </summary>
    public static void UseTrustedProxies(this WebApplication app)
    {
        var proxies = app.Services.GetRequiredService<ProxyOptions>();
        if (proxies.Networks.Count == 0) return;
        var options = new ForwardedHeadersOptions { ForwardedHeaders = ForwardedHeaders.XForwardedFor, ForwardLimit = null };
        options.KnownProxies.Clear();
        options.KnownIPNetworks.Clear();
        foreach (var network in proxies.Networks) options.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(network));
        app.UseForwardedHeaders(options);
    }
}
