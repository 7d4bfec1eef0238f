using System.Globalization;
using System.Net;
using System.Text;

namespace FlashSale.LoadTests.Reports;

/// <summary>A line of a chart. A y that is no number makes a gap.</summary>
public sealed record Series(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>
/// An axis: linear from 0 (or from below), or logarithmic over the positive values. It may have ticks of its own.
/// </summary>
public sealed record Axis(string Label, bool IsLogarithmic = false, IReadOnlyList<(double At, string Text)>? Ticks = null);

/// <summary>Draws line charts with axes, grid and legend, as SVG that needs no other file.</summary>
public static class Chart
{
    private const int Width = 760;
    private const int PlotHeight = 218;
    private const int Left = 70;
    private const int Right = 20;
    private const int LegendTop = 38;
    private const int LegendLine = 18;
    private const int Bottom = 46;

    // This palette is by Okabe and Ito. Colour-blind people can tell its colours apart too.
    private static readonly string[] Colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933"];

    /// <summary>Returns the svg element.</summary>
    public static string Lines(string title, Axis x, Axis y, params IReadOnlyList<Series> series)
    {
        var legend = Legend(series);
        var top = LegendTop + LegendLine * (legend.Length == 0 ? 1 : (legend[^1].Y - LegendTop) / LegendLine + 1);
        var bottom = top + PlotHeight;
        var height = bottom + Bottom;
        var horizontal = Scale.Of(x, series.SelectMany(line => line.Points.Select(point => point.X)), fromZero: false, Left, Width - Right);
        var vertical = Scale.Of(y, series.SelectMany(line => line.Points.Select(point => point.Y)), fromZero: true, bottom, top);
        var svg = new StringBuilder();
        svg.Append(null, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {height}\" width=\"{Width}\" height=\"{height}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n");
        svg.Append(null, $"<title>{Text(title)}</title>\n<rect width=\"{Width}\" height=\"{height}\" fill=\"#fff\"/>\n<text x=\"{Left}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">{Text(title)}</text>\n");
        foreach (var (at, text) in horizontal.Ticks)
        {
            svg.Append(null, $"<path d=\"M{Number(at)} {top}V{bottom}\" stroke=\"#e5e5e5\"/>");
            svg.Append(null, $"<text x=\"{Number(at)}\" y=\"{bottom + 16}\" text-anchor=\"middle\">{Text(text)}</text>\n");
        }
        foreach (var (at, text) in vertical.Ticks)
        {
            svg.Append(null, $"<path d=\"M{Left} {Number(at)}H{Width - Right}\" stroke=\"#e5e5e5\"/>");
            svg.Append(null, $"<text x=\"{Left - 6}\" y=\"{Number(at + 4)}\" text-anchor=\"end\">{Text(text)}</text>\n");
        }
        svg.Append(null, $"<path d=\"M{Left} {top}V{bottom}H{Width - Right}\" stroke=\"#333\" fill=\"none\"/>\n");
        svg.Append(null, $"<text x=\"{(Left + Width - Right) / 2}\" y=\"{height - 8}\" text-anchor=\"middle\">{Text(x.Label)}</text>\n");
        svg.Append(null, $"<text transform=\"translate(14 {(top + bottom) / 2}) rotate(-90)\" text-anchor=\"middle\">{Text(y.Label)}</text>\n");
        for (var i = 0; i < series.Count; i++)
        {
            var colour = Colours[i % Colours.Length];
            Draw(svg, series[i], horizontal, vertical, colour);
            svg.Append(null, $"<path d=\"M{legend[i].X} {legend[i].Y}h18\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{legend[i].X + 23}\" y=\"{legend[i].Y + 4}\">{Text(series[i].Name)}</text>\n");
        }
        return svg.Append("</svg>").ToString();
    }

    // Puts the legend into lines, each as wide as the chart.
    private static (int X, int Y)[] Legend(IReadOnlyList<Series> series)
    {
        var places = new (int X, int Y)[series.Count];
        var (x, y) = (Left, LegendTop);
        for (var i = 0; i < series.Count; i++)
        {
            var width = 36 + 7 * series[i].Name.Length;
            if (x > Left && x + width > Width) (x, y) = (Left, y + LegendLine);
            places[i] = (x, y);
            x += width;
        }
        return places;
    }

    private static void Draw(StringBuilder svg, Series line, Scale x, Scale y, string colour)
    {
        var path = new StringBuilder();
        var dots = new StringBuilder();
        var draws = false;
        foreach (var point in line.Points)
        {
            if (!x.Has(point.X) || !y.Has(point.Y))
            {
                draws = false;
                continue;
            }
            path.Append(null, $"{(draws ? 'L' : 'M')}{Number(x.At(point.X))} {Number(y.At(point.Y))}");
            if (line.Points.Count <= 30) dots.Append(null, $"<circle cx=\"{Number(x.At(point.X))}\" cy=\"{Number(y.At(point.Y))}\" r=\"2.5\" fill=\"{colour}\"/>");
            draws = true;
        }
        if (path.Length > 0) svg.Append(null, $"<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"/>{dots}\n");
    }

    private static string Number(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private sealed record Scale(bool IsLogarithmic, double From, double To, int Start, int End)
    {
        public IReadOnlyList<(double At, string Text)> Ticks { get; private init; } = [];

        public static Scale Of(Axis axis, IEnumerable<double> values, bool fromZero, int start, int end)
        {
            var usable = values.Where(value => double.IsFinite(value) && (!axis.IsLogarithmic || value > 0)).DefaultIfEmpty(1).ToArray();
            var (low, high) = (usable.Min(), usable.Max());
            if (axis.IsLogarithmic) return OfPowers(axis, low, high, start, end);
            if (fromZero) low = Math.Min(0, low);
            if (high <= low) high = low + 1;
            var step = Step((high - low) / 6);
            if (fromZero) (low, high) = (Math.Floor(low / step) * step, Math.Ceiling(high / step) * step);
            var ticks = axis.Ticks ?? [.. Enumerable.Range(0, 20).Select(i => (Math.Ceiling(low / step) + i) * step).Where(at => at <= high + step / 1e6).Select(at => (at, Label(at)))];
            return new Scale(false, low, high, start, end).With(ticks);
        }

        public bool Has(double value) => double.IsFinite(value) && (!IsLogarithmic || value > 0);

        public double At(double value)
        {
            var share = IsLogarithmic ? (Math.Log10(value) - Math.Log10(From)) / (Math.Log10(To) - Math.Log10(From)) : (value - From) / (To - From);
            return Start + share * (End - Start);
        }

        private static Scale OfPowers(Axis axis, double low, double high, int start, int end)
        {
            var (first, last) = ((int)Math.Floor(Math.Log10(low)), (int)Math.Ceiling(Math.Log10(high)));
            if (last == first) last++;
            var ticks = axis.Ticks ?? [.. Enumerable.Range(first, last - first + 1).Select(power => (Math.Pow(10, power), Label(Math.Pow(10, power))))];
            return new Scale(true, Math.Pow(10, first), Math.Pow(10, last), start, end).With(ticks);
        }

        private Scale With(IEnumerable<(double At, string Text)> ticks) =>
            this with { Ticks = [.. ticks.Where(tick => Has(tick.At) && tick.At >= From * 0.999999 && tick.At <= To * 1.000001).Select(tick => (At(tick.At), tick.Text))] };

        // Rounds the distance of two ticks up to 1, 2 or 5 times a power of ten.
        private static double Step(double about)
        {
            var power = Math.Pow(10, Math.Floor(Math.Log10(about)));
            return (about / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 } * power;
        }

        private static string Label(double value) => Math.Abs(value) switch
        {
            >= 1e9 => $"{value / 1e9:0.##}G",
            >= 1e6 => $"{value / 1e6:0.##}M",
            >= 1e4 => $"{value / 1e3:0.##}k",
            >= 1 or 0 => value.ToString("0.##", CultureInfo.InvariantCulture),
            _ => value.ToString("0.#####", CultureInfo.InvariantCulture),
        };
    }
}
