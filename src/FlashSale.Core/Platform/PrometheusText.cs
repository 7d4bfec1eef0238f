using System.Buffers;
using System.Globalization;
using System.Text;

namespace FlashSale.Platform;

/// <summary>
/// Writes Prometheus text format 0.0.4, and turns names and tags of the .NET metrics API into valid names and labels.
/// </summary>
internal readonly struct PrometheusText(IBufferWriter<byte> destination)
{
    /// <summary>
    /// The instrument's name with underscores, its unit spelled out, and <c>_total</c> for a counter.
    /// </summary>
    public static string NameOf(string instrument, string? unit, MetricKind kind)
    {
        var name = Sanitize(instrument);
        var suffix = unit switch { "s" => "_seconds", "ms" => "_milliseconds", "us" => "_microseconds", "By" => "_bytes", _ => "" };
        if (!name.EndsWith(suffix, StringComparison.Ordinal)) name += suffix;
        return kind == MetricKind.Counter && !name.EndsWith("_total", StringComparison.Ordinal) ? name + "_total" : name;
    }

    /// <summary>
    /// The tags as labels, sorted by name. If the names of two tags become the same label, the first tag stays.
    /// </summary>
    public static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var labels = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var tag in tags) labels.TryAdd(Sanitize(tag.Key), Convert.ToString(tag.Value, CultureInfo.InvariantCulture) ?? "");
        return string.Join(',', labels.Select(label => Label(label.Key, label.Value)));
    }

    public static string Label(string name, string value) => $"{name}=\"{Escape(value).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";

    public void Head(string name, string help, string type)
    {
        if (help.Length > 0) Write($"# HELP {name} {Escape(help)}\n");
        Write($"# TYPE {name} {type}\n");
    }

    public void Single(string name, string help, string type, double value)
    {
        Head(name, help, type);
        Sample(name, "", value);
    }

    public void Sample(string name, string labels, double value) =>
        Write(labels.Length == 0 ? $"{name} {Number(value)}\n" : $"{name}{{{labels}}} {Number(value)}\n");

    /// <summary>Writes a bucket of a histogram.</summary>
    public void Sample(string name, string labels, double value, double upperBound) =>
        Sample(name, labels.Length == 0 ? $"le=\"{Number(upperBound)}\"" : $"{labels},le=\"{Number(upperBound)}\"", value);

    private static string Number(double value) =>
        double.IsPositiveInfinity(value) ? "+Inf"
        : double.IsNegativeInfinity(value) ? "-Inf"
        : value.ToString("R", CultureInfo.InvariantCulture);

    private static string Escape(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string Sanitize(string name)
    {
        var text = new StringBuilder(name.Length + 1);
        foreach (var c in name) text.Append(char.IsAsciiLetterOrDigit(c) ? c : '_');
        if (text.Length == 0 || char.IsAsciiDigit(text[0])) text.Insert(0, '_');
        return text.ToString();
    }

    private void Write(string line) => Encoding.UTF8.GetBytes(line, destination);
}
