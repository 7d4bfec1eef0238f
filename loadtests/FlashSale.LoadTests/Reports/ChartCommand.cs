using System.Globalization;
using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Reports;

/// <summary>
/// Draws a table as a chart: <c>chart FILE.csv FILE.svg --title TEXT [--x LABEL] [--y LABEL] [--log-x] [--log-y]</c>.
/// The first line of the table holds the names, the first column holds x, and an empty cell is a gap. Without --x the
/// label is the name of the first column.
/// </summary>
public static class ChartCommand
{
    /// <summary>Runs the command.</summary>
    /// <exception cref="UsageException">The arguments or the table are not of the form above.</exception>
    public static async Task<int> RunAsync(string[] args)
    {
        var files = new List<string>();
        var (title, x, y, logX, logY) = ("", (string?)null, "", false, false);
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--title": title = Value(ref i); break;
                case "--x": x = Value(ref i); break;
                case "--y": y = Value(ref i); break;
                case "--log-x": logX = true; break;
                case "--log-y": logY = true; break;
                case ['-', ..]: throw new UsageException($"unknown argument: {args[i]}");
                default: files.Add(args[i]); break;
            }
        }
        if (files is not [var csv, var svg]) throw new UsageException("chart: FILE.csv FILE.svg are needed");
        if (!File.Exists(csv)) throw new UsageException($"{csv}: there is no such file");
        var (names, series) = Read(csv, await File.ReadAllLinesAsync(csv));
        await File.WriteAllTextAsync(svg, Chart.Lines(title, new Axis(x ?? names[0], logX), new Axis(y, logY), series) + "\n");
        return ExitCode.Pass;

        string Value(ref int i) => ++i < args.Length ? args[i] : throw new UsageException($"{args[i - 1]}: its value is missing");
    }

    private static (string[] Names, Series[] Series) Read(string path, string[] lines)
    {
        var rows = lines.Where(line => line.Length > 0).Select(line => line.Split(',')).ToArray();
        if (rows.Length < 2 || rows.Any(row => row.Length != rows[0].Length || row.Length < 2))
            throw new UsageException($"{path}: must have a line of names and lines of as many numbers, at least two columns");
        var numbers = rows.Skip(1).Select((row, i) => row.Select(cell => Number(cell, i + 2)).ToArray()).ToArray();
        return (rows[0], [.. rows[0].Skip(1).Select((name, column) => new Series(name, [.. numbers.Select(row => (row[0], row[column + 1]))]))]);

        double Number(string cell, int line) =>
            cell.Trim().Length == 0 ? double.NaN
            : double.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) ? number
            : throw new UsageException($"{path}, line {line}: '{cell}' is no number");
    }
}
