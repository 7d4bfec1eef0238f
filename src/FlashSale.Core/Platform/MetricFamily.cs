using System.Diagnostics.Metrics;

namespace FlashSale.Platform;

internal enum MetricKind
{
    Counter,
    Gauge,
    Histogram,
}

/// <summary>
/// All series of one instrument, under its Prometheus name. Known series are found without a lock or an allocation.
/// </summary>
internal sealed class MetricFamily
{
    private const int FirstTableSize = 64;

    // The same tags may come in several orders. Each order is an entry of its own that leads to the same series.
    private const int MaxEntries = PrometheusExporter.MaxSeriesPerInstrument * 2;

    private readonly Lock _growing = new();
    private readonly Dictionary<string, MetricSeries> _series = new(StringComparer.Ordinal);
    private readonly string _help;
    private readonly bool _adds;
    private readonly bool _observed;
    private readonly double[] _bounds;
    private MetricSeries? _untagged;
    private Entry?[] _table = new Entry?[FirstTableSize];
    private int _entries;
    private long _dropped;

    private MetricFamily(Instrument instrument, MetricKind kind, bool adds)
    {
        Kind = kind;
        Name = PrometheusText.NameOf(instrument.Name, instrument.Unit, kind);
        _help = instrument.Description ?? "";
        _adds = adds;
        _observed = instrument.IsObservable;
        _bounds = kind == MetricKind.Histogram ? HistogramBounds.Of(instrument) : [];
    }

    public string Name { get; }

    public MetricKind Kind { get; }

    /// <summary>
    /// Number of the collection under way. A series that its observable instrument does not report in it is not shown.
    /// </summary>
    public int Round { get; set; }

    public long Dropped => Interlocked.Read(ref _dropped);

    public static MetricFamily Create(Instrument instrument)
    {
        var type = instrument.GetType();
        var definition = type.IsGenericType ? type.GetGenericTypeDefinition() : type;
        return definition == typeof(Histogram<>) ? new(instrument, MetricKind.Histogram, adds: true)
            : definition == typeof(Counter<>) ? new(instrument, MetricKind.Counter, adds: true)
            : definition == typeof(ObservableCounter<>) ? new(instrument, MetricKind.Counter, adds: false)
            : definition == typeof(UpDownCounter<>) ? new(instrument, MetricKind.Gauge, adds: true)
            : new(instrument, MetricKind.Gauge, adds: false);
    }

    public void Record(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var series = tags.IsEmpty ? _untagged ?? AddUntagged() : Find(_table, HashOf(tags), tags)?.Series ?? Add(tags);
        if (series is null)
        {
            Interlocked.Increment(ref _dropped);
            return;
        }

        if (Kind == MetricKind.Histogram) series.Observe(value, _bounds);
        else if (_adds) series.Add(value);
        else series.Set(value, Round);
    }

    public void Write(PrometheusText text)
    {
        MetricSeries[] all;
        lock (_growing) all = [.. _series.Values];
        if (all.Length == 0)
        {
            // A counter that has counted nothing yet shows 0. Alerts and graphs then need not tell "none" from "no such
            // figure".
            if (Kind is not MetricKind.Counter || _observed) return;
            text.Single(Name, _help, "counter", 0);
            return;
        }
        text.Head(Name, _help, Kind switch { MetricKind.Counter => "counter", MetricKind.Gauge => "gauge", MetricKind.Histogram => "histogram" });
        foreach (var series in all)
        {
            if (_observed && series.Round != Round) continue;
            if (Kind == MetricKind.Histogram) series.WriteHistogram(text, Name, _bounds);
            else text.Sample(Name, series.Labels, series.Value);
        }
    }

    private static int HashOf(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        // The keys are nearly always the same for one instrument, so they are compared and not hashed.
        var hash = tags.Length;
        foreach (var tag in tags) hash = hash * 31 + (tag.Value?.GetHashCode() ?? 0);
        return hash;
    }

    private static Entry? Find(Entry?[] table, int hash, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        for (var i = hash & (table.Length - 1); ; i = (i + 1) & (table.Length - 1))
        {
            var entry = Volatile.Read(ref table[i]);
            if (entry is null || (entry.Hash == hash && entry.Has(tags))) return entry;
        }
    }

    private MetricSeries AddUntagged()
    {
        lock (_growing) return _untagged ??= _series[""] = new MetricSeries("", _bounds.Length);
    }

    private MetricSeries? Add(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        lock (_growing)
        {
            var hash = HashOf(tags);
            if (Find(_table, hash, tags) is { } known) return known.Series;
            var labels = PrometheusText.Labels(tags);
            if (_entries >= MaxEntries) return null;
            if (!_series.TryGetValue(labels, out var series))
            {
                if (_series.Count >= PrometheusExporter.MaxSeriesPerInstrument) return null;
                _series[labels] = series = new MetricSeries(labels, _bounds.Length);
            }

            Insert(new Entry(hash, tags.ToArray(), series));
            return series;
        }
    }

    // Readers go on in the old table until the new one is published whole.
    private void Insert(Entry entry)
    {
        if (++_entries * 2 > _table.Length)
        {
            var larger = new Entry?[_table.Length * 2];
            foreach (var old in _table)
            {
                if (old is not null) Place(larger, old);
            }

            Volatile.Write(ref _table, larger);
        }

        Place(_table, entry);
    }

    private static void Place(Entry?[] table, Entry entry)
    {
        var i = entry.Hash & (table.Length - 1);
        while (table[i] is not null) i = (i + 1) & (table.Length - 1);
        Volatile.Write(ref table[i], entry);
    }

    private sealed record Entry(int Hash, KeyValuePair<string, object?>[] Tags, MetricSeries Series)
    {
        public bool Has(ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (tags.Length != Tags.Length) return false;
            for (var i = 0; i < tags.Length; i++)
            {
                if (tags[i].Key != Tags[i].Key || !Equals(tags[i].Value, Tags[i].Value)) return false;
            }

            return true;
        }
    }
}
