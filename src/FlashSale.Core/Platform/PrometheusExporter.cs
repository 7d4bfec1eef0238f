using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace FlashSale.Platform;

/// <summary>
/// Keeps the measurements of every meter with a name that starts with <c>FlashSale</c>. Renders them, with a few
/// figures of the runtime, as Prometheus text 0.0.4. Recording takes no lock and allocates nothing once a series is
/// known. Thread-safe. Measurements from before the exporter exists are lost, so a host makes it at start.
/// </summary>
public sealed class PrometheusExporter : IDisposable
{
    /// <summary>
    /// Most series of one instrument. Measurements of further series are dropped, and counted in
    /// flashsale_metrics_dropped_total.
    /// </summary>
    public const int MaxSeriesPerInstrument = 1_000;

    private const string MeterPrefix = "FlashSale";
    private readonly ConcurrentDictionary<string, MetricFamily> _families = new(StringComparer.Ordinal);
    private readonly MeterListener _listener = new();
    private readonly Lock _collecting = new();
    private int _round;
    private long _failures;

    /// <summary>Starts to listen to the meters.</summary>
    public PrometheusExporter()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name.StartsWith(MeterPrefix, StringComparison.Ordinal) && FamilyOf(instrument) is { } family)
                listener.EnableMeasurementEvents(instrument, family);
        };
        _listener.SetMeasurementEventCallback<long>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<int>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<short>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<byte>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<double>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<float>(static (_, value, tags, family) => Record(family, value, tags));
        _listener.SetMeasurementEventCallback<decimal>(static (_, value, tags, family) => Record(family, (double)value, tags));
        _listener.Start();
    }

    /// <summary>Asks the observable instruments and writes everything, in the order of the names.</summary>
    public void WriteTo(IBufferWriter<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        // Collections run one at a time. A series with the number of an earlier round is one that its observable
        // instrument no longer reports.
        lock (_collecting)
        {
            _round++;
            foreach (var (_, family) in _families) family.Round = _round;
            try
            {
                _listener.RecordObservableInstruments();
            }
            catch (AggregateException)
            {
                // One broken gauge must not take the other figures from an operator during a sale.
                _failures++;
            }

            var text = new PrometheusText(destination);
            foreach (var (_, family) in _families.OrderBy(pair => pair.Key, StringComparer.Ordinal)) family.Write(text);
            WriteOwnFigures(text);
            RuntimeFigures.Write(text);
        }
    }

    /// <summary>Stops listening.</summary>
    public void Dispose() => _listener.Dispose();

    private static void Record(object? family, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        ((MetricFamily)family!).Record(value, tags);

    // Instruments of the same name share a family and add up, no matter where they were made. An instrument of another
    // kind would make the page unreadable, so it is left out.
    private MetricFamily? FamilyOf(Instrument instrument)
    {
        var made = MetricFamily.Create(instrument);
        var family = _families.GetOrAdd(made.Name, made);
        return family.Kind == made.Kind ? family : null;
    }

    private void WriteOwnFigures(PrometheusText text)
    {
        text.Head("flashsale_metrics_dropped_total", "Measurements dropped because their instrument has too many series.", "counter");
        foreach (var (name, family) in _families.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            if (family.Dropped > 0) text.Sample("flashsale_metrics_dropped_total", PrometheusText.Label("instrument", name), family.Dropped);
        }

        text.Single("flashsale_metrics_collection_failures_total", "Collections in which an observable instrument threw.", "counter", _failures);
    }
}
