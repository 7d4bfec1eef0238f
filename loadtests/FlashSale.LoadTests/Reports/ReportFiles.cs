using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>Forms of a run's report.</summary>
public enum ReportFormat
{
    /// <summary>One page with charts that needs no other file.</summary>
    Html,

    /// <summary>Tables in Markdown, for a repository.</summary>
    Md,

    /// <summary>All figures as JSON, for programs.</summary>
    Json,
}

/// <summary>Writes a run's reports.</summary>
public static class ReportFiles
{
    /// <summary>Writes the reports into a folder, which is created if it is missing, and returns their paths.</summary>
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
