using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>Forms of a run's report.</summary>
public enum ReportFormat
{
    /// <summary>One page with charts, nothing beside it.</summary>
    Html,

    /// <summary>Tables, for a repository.</summary>
    Md,

    /// <summary>All figures, for programs.</summary>
    Json,
}

/// <summary>Writes a run's reports.</summary>
public static class ReportFiles
{
    /// <summary>Writes them into a folder, which is made when it is not there. Answers their paths.</summary>
    public static async Task<IReadOnlyList<string>> WriteAsync(RunResult result, string folder, string name, IEnumerable<ReportFormat> formats)
    {
        Directory.CreateDirectory(folder);
        var paths = new List<string>();
        foreach (var format in formats.Distinct())
        {
            var path = Path.Combine(folder, $"{name}.{format.ToString().ToLowerInvariant()}");
            await File.WriteAllTextAsync(path, format switch
            {
                ReportFormat.Html => HtmlReport.Of(result),
                ReportFormat.Md => MarkdownReport.Of(result),
                ReportFormat.Json => JsonReport.Of(result),
            });
            paths.Add(path);
        }
        return paths;
    }
}
