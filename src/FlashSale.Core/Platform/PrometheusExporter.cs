using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace FlashSale.Platform;

/// <summary>
/// Keeps the measurements of every meter whose name starts with <c>FlashSale</c>, and renders them, with a few figures of the
/// runtime, as Prometheus text 0.0.4. Recording takes no lock and allocates nothing once a series is known. Thread-safe.
/// What is recorded before it exists is lost, so a host makes it at start.
/// </summary>
public sealed class PrometheusExporter : IDisposable
{
    /// <summary>Most series of one instrument; measurements of further ones are dropped and counted in flashsale_metrics_dropped_total.</summary>
    public const int MaxSeriesPerInstrument = 1_000;

    private const string MeterPrefix = "FlashSale";
    private readonly ConcurrentDictionary<string, MetricFamily> _families = new(StringComparer.Ordinal);
    private readonly MeterListener _listener = new();
    private readonly Lock _collecting = new();
    private int _round;
    private long _failures;

    /// <summary>Starts to listen.</summary>
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
        // One collection at a time: a series that an observable instrument no longer reports is told by its round.
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
                // One broken gauge must not take the other figures from an operator on the night.
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

    // Instruments of one name add up, wherever they were made. One whose kind differs would make the page unreadable: it is left out.
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
