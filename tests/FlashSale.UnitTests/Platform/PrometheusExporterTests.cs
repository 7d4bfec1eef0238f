using System.Buffers;
using System.Diagnostics.Metrics;
using System.Text;
using FlashSale.Platform;

namespace FlashSale.UnitTests.Platform;

public sealed class PrometheusExporterTests : IDisposable
{
    private readonly string _prefix = "t" + Guid.NewGuid().ToString("N")[..8];
    private readonly Meter _meter = new("FlashSale.Tests");
    private readonly PrometheusExporter _exporter = new();

    public void Dispose()
    {
        _exporter.Dispose();
        _meter.Dispose();
    }

    [Fact]
    public void A_counter_adds_up_by_tags()
    {
        var counter = _meter.CreateCounter<long>(_prefix + ".purchases", "{purchase}", "Answers to purchases.");
        counter.Add(2);
        counter.Add(1, new KeyValuePair<string, object?>("http.status", 202));
        counter.Add(3, new("http.status", 409), new("code", "sold_out"));
        counter.Add(4, new("code", "sold_out"), new("http.status", 409));
        Assert.Equal(
            [
                $"# HELP {_prefix}_purchases_total Answers to purchases.",
                $"# TYPE {_prefix}_purchases_total counter",
                $"{_prefix}_purchases_total 2",
                $"{_prefix}_purchases_total{{http_status=\"202\"}} 1",
                $"{_prefix}_purchases_total{{code=\"sold_out\",http_status=\"409\"}} 7",
            ],
            Lines());
    }

    [Fact]
    public void Labels_and_help_are_escaped()
    {
        _meter.CreateCounter<int>(_prefix + "_c_total", null, "a\\b\nc").Add(1, new KeyValuePair<string, object?>("1k", "say \"hi\"\\\n"));
        Assert.Equal([$@"# HELP {_prefix}_c_total a\\b\nc", $"# TYPE {_prefix}_c_total counter", $@"{_prefix}_c_total{{_1k=""say \""hi\""\\\n""}} 1"], Lines());
    }

    [Fact]
    public void An_up_down_counter_and_a_gauge_are_gauges()
    {
        var open = _meter.CreateUpDownCounter<int>(_prefix + ".open");
        open.Add(5);
        open.Add(-7);
        var level = _meter.CreateGauge<double>(_prefix + ".used", "By");
        level.Record(1.5);
        level.Record(0.25);
        Assert.Equal([$"# TYPE {_prefix}_open gauge", $"{_prefix}_open -2", $"# TYPE {_prefix}_used_bytes gauge", $"{_prefix}_used_bytes 0.25"], Lines());
    }

    [Fact]
    public void An_observable_shows_what_it_reports_now_and_nothing_older()
    {
        Measurement<long>[] reported = [new(1, new KeyValuePair<string, object?>("sale", "a")), new(2, new KeyValuePair<string, object?>("sale", "b"))];
        _meter.CreateObservableGauge(_prefix + ".outbox", () => reported);
        var seen = 10.0;
        _meter.CreateObservableCounter(_prefix + ".seen", () => seen);
        Assert.Contains($"{_prefix}_outbox{{sale=\"a\"}} 1", Lines());
        (reported, seen) = ([new(7, new KeyValuePair<string, object?>("sale", "b"))], 12);
        Assert.Equal(
            [$"# TYPE {_prefix}_outbox gauge", $"{_prefix}_outbox{{sale=\"b\"}} 7", $"# TYPE {_prefix}_seen_total counter", $"{_prefix}_seen_total 12"], Lines());
    }

    [Fact]
    public void A_broken_observable_is_counted_and_the_others_are_shown()
    {
        _meter.CreateObservableGauge<int>(_prefix + ".broken", (Func<int>)(() => throw new InvalidOperationException()));
        _meter.CreateObservableGauge(_prefix + ".whole", () => 3);
        var page = Page();
        Assert.Contains($"{_prefix}_whole 3", page);
        Assert.Contains("flashsale_metrics_collection_failures_total 1", page);
    }

    [Fact]
    public void A_histogram_counts_cumulatively_by_its_advised_bounds()
    {
        var histogram = _meter.CreateHistogram<double>(_prefix + ".wait", "s", advice: new() { HistogramBucketBoundaries = [0.1, 1] });
        foreach (var value in new[] { 0.05, 0.1, 0.5, 3, double.NaN }) histogram.Record(value, new KeyValuePair<string, object?>("code", "ok"));
        Assert.Equal(
            [
                $"# TYPE {_prefix}_wait_seconds histogram",
                $"{_prefix}_wait_seconds_bucket{{code=\"ok\",le=\"0.1\"}} 2",
                $"{_prefix}_wait_seconds_bucket{{code=\"ok\",le=\"1\"}} 3",
                $"{_prefix}_wait_seconds_bucket{{code=\"ok\",le=\"+Inf\"}} 4",
                $"{_prefix}_wait_seconds_sum{{code=\"ok\"}} 3.65",
                $"{_prefix}_wait_seconds_count{{code=\"ok\"}} 4",
            ],
            Lines());
    }

    [Fact]
    public void A_histogram_without_advice_has_fixed_bounds()
    {
        _meter.CreateHistogram<int>(_prefix + ".batch").Record(64);
        Assert.Contains($"{_prefix}_batch_bucket{{le=\"100\"}} 1", Lines());
        Assert.Contains($"{_prefix}_batch_bucket{{le=\"50\"}} 0", Lines());
    }

    [Fact]
    public void Series_beyond_the_bound_are_dropped_and_counted()
    {
        var counter = _meter.CreateCounter<int>(_prefix + ".many");
        for (var i = 0; i < PrometheusExporter.MaxSeriesPerInstrument + 5; i++) counter.Add(1, new KeyValuePair<string, object?>("user", $"u{i}"));
        counter.Add(1, new KeyValuePair<string, object?>("user", "u3"));
        var lines = Lines();
        Assert.Equal(PrometheusExporter.MaxSeriesPerInstrument + 1, lines.Length);
        Assert.Contains($"{_prefix}_many_total{{user=\"u3\"}} 2", lines);
        Assert.Contains($"flashsale_metrics_dropped_total{{instrument=\"{_prefix}_many_total\"}} 5", Page());
    }

    [Fact]
    public void Meters_of_others_are_not_shown_and_a_name_of_two_kinds_is_shown_once()
    {
        using var other = new Meter("Other");
        other.CreateCounter<int>(_prefix + ".other").Add(1);
        _meter.CreateCounter<int>(_prefix + ".same_total").Add(1);
        _meter.CreateUpDownCounter<int>(_prefix + ".same_total").Add(9);
        Assert.Equal([$"# TYPE {_prefix}_same_total counter", $"{_prefix}_same_total 1"], Lines());
    }

    [Fact]
    public void The_runtime_is_shown_and_every_line_is_well_formed()
    {
        var page = Page();
        foreach (var name in new[] { "process_resident_memory_bytes", "dotnet_gc_heap_bytes", "dotnet_gc_allocated_bytes_total", "dotnet_threadpool_queue_length" })
            Assert.Matches($"^{name} [0-9.E+]+$", page.Single(line => line.StartsWith(name + " ", StringComparison.Ordinal)));
        Assert.All(page, line => Assert.Matches(@"^(# (HELP|TYPE) [a-z_][a-z0-9_]* .+|[a-z_][a-z0-9_]*(\{[a-zA-Z_]\w*=""([^""\\\n]|\\.)*""(,[a-zA-Z_]\w*=""([^""\\\n]|\\.)*"")*\})? \S+)$", line));
    }

    [Fact]
    public void Threads_that_record_at_once_lose_nothing()
    {
        var counter = _meter.CreateCounter<long>(_prefix + ".race");
        var histogram = _meter.CreateHistogram<double>(_prefix + ".race_wait", "s");
        Parallel.For(0, 40_000, i =>
        {
            counter.Add(1, new KeyValuePair<string, object?>("i", i % 200));
            histogram.Record(0.5);
        });
        Assert.All(Lines().Where(line => line.StartsWith($"{_prefix}_race_total{{", StringComparison.Ordinal)), line => Assert.EndsWith(" 200", line));
        Assert.Contains($"{_prefix}_race_wait_seconds_count 40000", Lines());
        Assert.Contains($"{_prefix}_race_wait_seconds_sum 20000", Lines());
    }

    [Fact]
    public void Recording_allocates_nothing()
    {
        var counter = _meter.CreateCounter<long>(_prefix + ".free");
        var histogram = _meter.CreateHistogram<double>(_prefix + ".free_wait", "s");
        Record(10);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Record(1_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Record(int times)
        {
            for (var i = 0; i < times; i++)
            {
                counter.Add(1);
                counter.Add(1, new KeyValuePair<string, object?>("code", "accepted"));
                counter.Add(1, new("code", "sold_out"), new("sale", "s1"));
                histogram.Record(0.003, new KeyValuePair<string, object?>("code", "accepted"));
            }
        }
    }

    private string[] Page()
    {
        var buffer = new ArrayBufferWriter<byte>();
        _exporter.WriteTo(buffer);
        var text = Encoding.UTF8.GetString(buffer.WrittenSpan);
        Assert.EndsWith("\n", text);
        return text[..^1].Split('\n');
    }

    // Tests run side by side and share the process' meters. So each looks only at its own names.
    private string[] Lines() =>
        [.. Page().Where(line => line.StartsWith(_prefix, StringComparison.Ordinal) || line.StartsWith($"# HELP {_prefix}", StringComparison.Ordinal) || line.StartsWith($"# TYPE {_prefix}", StringComparison.Ordinal))];
}
