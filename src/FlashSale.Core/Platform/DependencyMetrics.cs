using System.Diagnostics.Metrics;
using Polly.CircuitBreaker;

namespace FlashSale.Platform;

/// <summary>Counts the events of a dependency's pipelines, for /metrics.</summary>
internal sealed class DependencyMetrics
{
    private static readonly Meter Meter = new("FlashSale.Dependencies");

    private static readonly Counter<long> Rejections = Meter.CreateCounter<long>(
        "flashsale_dependency_rejections_total", description: "Calls that were not made: the breaker was open, or the bulkhead full.");

    private static readonly Counter<long> Retries = Meter.CreateCounter<long>("flashsale_dependency_retries_total", description: "Attempts that were made again.");
    private static readonly Counter<long> Timeouts = Meter.CreateCounter<long>("flashsale_dependency_timeouts_total", description: "Attempts that were given up.");
    private static readonly Counter<long> Openings = Meter.CreateCounter<long>("flashsale_dependency_breaker_openings_total", description: "Times the breaker opened.");

    private readonly KeyValuePair<string, object?> _name;

    public DependencyMetrics(Dependency dependency)
    {
        _name = new("dependency", dependency.Name);
        // Every series starts at 0, so that its first event shows as an increase.
        foreach (var counter in (Counter<long>[])[Retries, Timeouts, Openings]) counter.Add(0, _name);
        foreach (var reason in (string[])["open", "full"]) Rejections.Add(0, _name, new("reason", reason));
        Meter.CreateObservableGauge("flashsale_dependency_state", () => new Measurement<int>((int)dependency.State switch
        {
            (int)CircuitState.Closed => 0,
            (int)CircuitState.HalfOpen => 1,
            _ => 2,
        }, _name), description: "The breaker: 0 closed, 1 half-open, 2 open.");
        Meter.CreateObservableGauge("flashsale_dependency_in_flight", () => new Measurement<int>(dependency.InFlight, _name), description: "Calls under way.");
    }

    public void Rejected(string reason) => Rejections.Add(1, _name, new("reason", reason));

    public void Retried() => Retries.Add(1, _name);

    public void TimedOut() => Timeouts.Add(1, _name);

    public void Opened() => Openings.Add(1, _name);
}
