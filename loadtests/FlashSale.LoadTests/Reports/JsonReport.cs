using System.Text.Json;
using System.Text.Json.Serialization;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>
/// Reports all figures of a run as JSON: <see cref="RunResult"/> with camelCase names, and durations as
/// "hh:mm:ss.fffffff".
/// </summary>
public static class JsonReport
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web) { WriteIndented = true, NumberHandling = JsonNumberHandling.Strict };

    /// <summary>Returns the text of the file.</summary>
    public static string Of(RunResult result) => JsonSerializer.Serialize(result, Options);
}
