using System.Globalization;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Reads the management port of a host.</summary>
public static class Figures
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(5) };

    /// <summary>The page /health/ready, with any status.</summary>
    public static async Task<Answer> ReadyAsync(HostProcess host)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(host.ManagementUrl, "/health/ready"));
        return await Answer.OfAsync(Http, request);
    }

    /// <summary>
    /// A figure of /metrics. It is 0 when it is not shown, as counters are not before their first event.
    /// </summary>
    /// <param name="host">The host that shows it.</param>
    /// <param name="series">Name and labels as Prometheus shows them.</param>
    public static async Task<double> OfAsync(HostProcess host, string series)
    {
        var line = (await LinesAsync(host, series)).SingleOrDefault();
        return line is null ? 0 : Value(line, series);
    }

    /// <summary>A figure that /metrics must show.</summary>
    public static async Task<double> ShownAsync(HostProcess host, string series) => Value(Assert.Single(await LinesAsync(host, series)), series);

    private static async Task<IEnumerable<string>> LinesAsync(HostProcess host, string series)
    {
        var metrics = await Http.GetStringAsync(new Uri(host.ManagementUrl, "/metrics"));
        return metrics.Split('\n').Where(line => line.StartsWith(series + " ", StringComparison.Ordinal));
    }

    private static double Value(string line, string series) => double.Parse(line.AsSpan(series.Length + 1), CultureInfo.InvariantCulture);
}
