using System.Globalization;
using System.Xml.Linq;
using FlashSale.LoadTests.Engine;
using FlashSale.LoadTests.Reports;

namespace FlashSale.UnitTests.LoadTests;

public sealed class ChartTests
{
    private static readonly XNamespace Svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void A_chart_is_well_formed_and_says_what_it_shows()
    {
        var chart = Draw(new Axis("seconds"), new Axis("ms"), new Series("p<50>", [(0, 1), (10, 5)]), new Series("p99", [(0, 2), (10, 9)]));
        var texts = chart.Descendants(Svg + "text").Select(text => text.Value).ToArray();
        Assert.All(["Latency & load", "seconds", "ms", "p<50>", "p99", "0", "10", "8"], text => Assert.Contains(text, texts));
    }

    [Fact]
    public void A_gap_is_no_line_and_a_logarithm_has_no_zero()
    {
        var chart = Draw(new Axis("x"), new Axis("y", IsLogarithmic: true), new Series("a", [(0, 1), (1, 10), (2, double.NaN), (3, 100), (4, 0), (5, 1)]));
        var path = Assert.Single(chart.Descendants(Svg + "path"), line => (string?)line.Attribute("stroke-linejoin") == "round");
        Assert.Equal(3, path.Attribute("d")!.Value.Count(letter => letter == 'M'));
        Assert.Equal(["1", "10", "100"], chart.Descendants(Svg + "text").Where(text => (string?)text.Attribute("text-anchor") == "end").Select(text => text.Value));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(300)]
    public void Any_number_of_points_stays_within_the_picture(int points)
    {
        var chart = Draw(new Axis("x"), new Axis("y"), new Series("a", [.. Enumerable.Range(0, points).Select(i => (i * 1e3, Math.Sin(i) * 1e7))]));
        var size = (Width: (double)chart.Root!.Attribute("width")!, Height: (double)chart.Root.Attribute("height")!);
        var numbers = chart.Descendants(Svg + "path").Where(line => (string?)line.Attribute("stroke-linejoin") == "round")
            .SelectMany(line => line.Attribute("d")!.Value.Split('M', 'L').Where(pair => pair.Length > 0)).Select(pair => pair.Split(' ').Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray());
        Assert.All(numbers, at => Assert.True(at[0] >= 0 && at[0] <= size.Width && at[1] >= 0 && at[1] <= size.Height));
    }

    [Fact]
    public async Task A_table_becomes_a_chart_and_one_that_is_none_is_told_where()
    {
        var folder = Directory.CreateTempSubdirectory("chart-").FullName;
        try
        {
            var (csv, svg) = (Path.Combine(folder, "a.csv"), Path.Combine(folder, "a.svg"));
            await File.WriteAllTextAsync(csv, "orders,accepted/s,persisted/s\n10000,16000,14000\n20000,15900,\n");
            Assert.Equal(ExitCode.Pass, await ChartCommand.RunAsync([csv, svg, "--title", "Cost", "--log-x"]));
            Assert.Contains(XDocument.Load(svg).Descendants(Svg + "text"), text => text.Value == "persisted/s");
            await File.WriteAllTextAsync(csv, "a,b\n1,x\n");
            Assert.Contains("line 2: 'x' is no number", (await Assert.ThrowsAsync<UsageException>(() => ChartCommand.RunAsync([csv, svg]))).Message);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static XDocument Draw(Axis x, Axis y, params Series[] series) => XDocument.Parse(Chart.Lines("Latency & load", x, y, series));
}
