using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// Reads thresholds from a JSON file. It maps each scenario to a list of lines of the form "[step:] metric operator
/// number".
/// Example: {"spike": ["ok.latency.p99 &lt; 50", "buy: fail.percent &lt;= 0.1"]}.
/// Metrics: ok|fail .count|.rps|.percent|.bytes; ok|fail .latency|.service
/// .min|.mean|.p50|.p75|.p90|.p95|.p99|.p999|.max|.stddev (milliseconds; latency counts from the intended start); of
/// scenarios also generator.intended|.missed|.unfinished|.lag.p99 and the like.
/// Operators: &lt; &lt;= &gt; &gt;= ==.
/// A run ignores the lines of scenarios that it does not run, so one file may serve all runs.
/// </summary>
public static partial class ThresholdFile
{
    private static readonly Dictionary<string, Func<StepStats, double>> Metrics = AllMetrics();

    /// <summary>Reads the file.</summary>
    /// <exception cref="UsageException">The file cannot be read, or its content is not of the form above.</exception>
    public static IReadOnlyDictionary<string, Threshold[]> Load(string path)
    {
        string text;
        try
        {
            text = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{path}: cannot be read: {e.Message}");
        }
        return Parse(text, path);
    }

    /// <summary>Reads the text of the file. Error messages name <paramref name="path"/>.</summary>
    /// <exception cref="UsageException">The text is not of the form above.</exception>
    public static IReadOnlyDictionary<string, Threshold[]> Parse(string json, string path)
    {
        try
        {
            return JsonSerializer.Deserialize<Dictionary<string, string[]>>(json)!.ToDictionary(
                scenario => scenario.Key, scenario => scenario.Value.Select(line => Read(line, $"{path}: {scenario.Key}")).ToArray(), StringComparer.Ordinal);
        }
        catch (Exception e) when (e is JsonException or NullReferenceException or ArgumentNullException)
        {
            throw new UsageException($"{path}: must be a JSON object of scenarios, each with a list of lines: {e.Message}");
        }
    }

    private static Threshold Read(string line, string where)
    {
        var match = Line().Match(line);
        if (!match.Success) throw new UsageException($"{where}: '{line}' must be of the form [step:] metric operator number, such as ok.latency.p99 < 50");
        var step = match.Groups["step"] is { Success: true } named ? named.Value.Trim() : null;
        var name = match.Groups["metric"].Value;
        if (!Metrics.TryGetValue(name, out var metric) || (step is not null && name.StartsWith("generator.", StringComparison.Ordinal)))
            throw new UsageException($"{where}: '{line}': {name} is no metric of a {(step is null ? "scenario" : "step")}; there are {string.Join(", ", Metrics.Keys)}");
        var limit = double.Parse(match.Groups["number"].Value, CultureInfo.InvariantCulture);
        Func<double, bool> holds = match.Groups["operator"].Value switch
        {
            "<" => value => value < limit,
            "<=" => value => value <= limit,
            ">" => value => value > limit,
            ">=" => value => value >= limit,
            _ => value => value == limit,
        };
        return new Threshold(step, line, stats => holds(metric(stats)), null, TimeSpan.Zero);
    }

    private static Dictionary<string, Func<StepStats, double>> AllMetrics()
    {
        var metrics = new Dictionary<string, Func<StepStats, double>>(StringComparer.Ordinal);
        AddSide("ok", stats => stats.Ok);
        AddSide("fail", stats => stats.Fail);
        metrics["generator.intended"] = stats => ((ScenarioStats)stats).Generator.Intended;
        metrics["generator.missed"] = stats => ((ScenarioStats)stats).Generator.Missed;
        metrics["generator.unfinished"] = stats => ((ScenarioStats)stats).Generator.Unfinished;
        AddLatency("generator.lag", stats => ((ScenarioStats)stats).Generator.Lag);
        return metrics;

        void AddSide(string name, Func<StepStats, MeasurementStats> side)
        {
            metrics[$"{name}.count"] = stats => side(stats).Request.Count;
            metrics[$"{name}.rps"] = stats => side(stats).Request.RPS;
            metrics[$"{name}.percent"] = stats => side(stats).Request.Percent;
            metrics[$"{name}.bytes"] = stats => side(stats).DataTransfer.AllBytes;
            AddLatency($"{name}.latency", stats => side(stats).Latency);
            AddLatency($"{name}.service", stats => side(stats).ServiceTime);
        }

        void AddLatency(string name, Func<StepStats, LatencyStats> latency)
        {
            metrics[$"{name}.min"] = stats => latency(stats).MinMs;
            metrics[$"{name}.mean"] = stats => latency(stats).MeanMs;
            metrics[$"{name}.stddev"] = stats => latency(stats).StdDev;
            metrics[$"{name}.p50"] = stats => latency(stats).Percent50;
            metrics[$"{name}.p75"] = stats => latency(stats).Percent75;
            metrics[$"{name}.p90"] = stats => latency(stats).Percent90;
            metrics[$"{name}.p95"] = stats => latency(stats).Percent95;
            metrics[$"{name}.p99"] = stats => latency(stats).Percent99;
            metrics[$"{name}.p999"] = stats => latency(stats).Percent999;
            metrics[$"{name}.max"] = stats => latency(stats).MaxMs;
        }
    }

    [GeneratedRegex(@"^\s*((?<step>[^:]+):)?\s*(?<metric>[a-z0-9.]+)\s*(?<operator><=|>=|==|<|>)\s*(?<number>-?\d+(\.\d+)?)\s*$", RegexOptions.ExplicitCapture, 1_000)]
    private static partial Regex Line();
}
