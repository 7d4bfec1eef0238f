using System.Globalization;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>What a host's management port tells.</summary>
public static class Figures
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(5) };

    /// <summary>The page /health/ready, whatever its status.</summary>
    public static async Task<Answer> ReadyAsync(HostProcess host)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(host.ManagementUrl, "/health/ready"));
        return await Answer.OfAsync(Http, request);
    }

    /// <summary>A figure of /metrics; 0 when it is not there, as counters are before their first event.</summary>
    /// <param name="host">Whose.</param>
    /// <param name="series">Name and labels as Prometheus shows them.</param>
    public static async Task<double> OfAsync(HostProcess host, string series)
    {
        var metrics = await Http.GetStringAsync(new Uri(host.ManagementUrl, "/metrics"));
        var line = metrics.Split('\n').SingleOrDefault(line => line.StartsWith(series + " ", StringComparison.Ordinal));
        return line is null ? 0 : double.Parse(line.AsSpan(series.Length + 1), CultureInfo.InvariantCulture);
    }
}
