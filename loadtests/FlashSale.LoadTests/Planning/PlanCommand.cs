using FlashSale.LoadTests.Engine;

namespace FlashSale.LoadTests.Planning;

/// <summary>
/// Runs the commands <c>plan --visitors N --window SECONDS --stock N …</c> and
/// <c>figures [--figures FILE] NAME=VALUE…</c>.
/// </summary>
public static class PlanCommand
{
    /// <summary>Prints the needs of an event.</summary>
    /// <exception cref="UsageException">An option is unknown, missing or out of its range.</exception>
    public static int Plan(string[] args)
    {
        var given = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < args.Length; i += 2)
        {
            if (!Ranges.ContainsKey(args[i]) && args[i] != "--figures") throw new UsageException($"unknown argument: {args[i]}; plan takes {string.Join(' ', Ranges.Keys)} --figures");
            given[args[i]] = i + 1 < args.Length ? args[i + 1] : throw new UsageException($"{args[i]}: its value is missing");
        }
        var planned = new PlannedEvent(Number("--visitors"), TimeSpan.FromSeconds(Number("--window")), Number("--stock"));
        planned = planned with
        {
            Peak = Number("--peak", planned.Peak),
            Attempts = Number("--attempts", planned.Attempts),
            Pages = Number("--pages", planned.Pages),
            Sales = (int)Number("--sales", planned.Sales),
            Drain = TimeSpan.FromSeconds(Number("--drain", 60)),
            Utilisation = Number("--utilisation", planned.Utilisation),
            NodeCores = (int)Number("--cores", planned.NodeCores),
            NodeConnections = (int)Number("--connections", planned.NodeConnections),
        };
        Console.WriteLine(Text(planned, Planner.For(planned, Figures.Load(given.GetValueOrDefault("--figures") ?? DefaultFile()))));
        return ExitCode.Pass;

        double Number(string name, double? otherwise = null)
        {
            var (least, most, isWhole) = Ranges[name];
            if (!given.TryGetValue(name, out var text)) return otherwise ?? throw new UsageException($"plan: {name} is missing: a number from {least} to {most}");
            return double.TryParse(text, out var number) && number >= least && number <= most && (!isWhole || number == Math.Floor(number)) ? number
                : throw new UsageException($"{name} {text}: must be a {(isWhole ? "whole " : "")}number from {least} to {most}");
        }
    }

    /// <summary>Writes newly measured figures into the file.</summary>
    /// <exception cref="UsageException">The file cannot be read, or a figure is unknown or no number above
    /// 0.</exception>
    public static int Refresh(string[] args)
    {
        var (path, assignments) = args is ["--figures", var file, .. var rest] ? (file, rest) : (DefaultFile(), args);
        if (assignments.Length == 0) throw new UsageException("figures: NAME=VALUE… are needed");
        Figures.Load(path).With(assignments).Save(path);
        return ExitCode.Pass;
    }

    private static readonly Dictionary<string, (double Least, double Most, bool IsWhole)> Ranges = new(StringComparer.Ordinal)
    {
        ["--visitors"] = (1, 1e9, true), ["--window"] = (1, 604_800, false), ["--stock"] = (1, 1e9, true), ["--peak"] = (1, 1_000, false), ["--attempts"] = (1, 100, false), ["--pages"] = (0, 1_000, false),
        ["--sales"] = (1, 10_000, true), ["--drain"] = (1, 86_400, false), ["--utilisation"] = (0.1, 0.95, false), ["--cores"] = (1, 128, true), ["--connections"] = (100, 1_000_000, true),
    };

    /// <summary>Returns the plan in words.</summary>
    public static string Text(PlannedEvent planned, Plan plan)
    {
        var table = plan.Nodes.Select(node => new[] { node.Component, $"{node.Nodes}", $"{node.Cores}", $"{node.MemoryGigabytes:0}", node.DiskGigabytes > 0 ? $"{node.DiskGigabytes:N0}" : "-", node.Why });
        var rows = table.Prepend(["component", "nodes", "cores each", "GB memory each", "GB disk each", "why"]).ToArray();
        var widths = Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length)).ToArray();
        var lines = rows.Select(row => "| " + string.Join(" | ", row.Select((cell, column) => cell.PadRight(widths[column]))) + " |").ToList();
        lines.Insert(1, "|" + string.Join('|', widths.Select(width => new string('-', width + 2))) + "|");
        var end = double.IsInfinity(plan.SellingSeconds) ? "not sold out: fewer purchases come than units are on sale" : $"sold out after {plan.SellingSeconds:N1} s at that rate";
        return $"""
            {planned.Visitors:N0} visitors in {planned.Window.TotalSeconds:N0} s, {planned.Stock:N0} units:
            at the peak {plan.RequestsPerSecond:N0} requests/s, {plan.AcceptedPerSecond:N0} purchases accepted/s, {plan.PersistedPerSecond:N0} orders/s into Postgres; {end}

            {string.Join('\n', lines)}

            {string.Concat(plan.Warnings.Select(warning => $"Mind: {warning}\n"))}Assumed:
            {string.Join('\n', plan.Assumptions.Select(assumption => $"- {assumption}"))}
            """;
    }

    // Returns the file of the working tree that this program was built from. Outside of one, the file lies below the
    // current folder.
    private static string DefaultFile()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
            if (File.Exists(Path.Combine(folder, "FlashSale.sln"))) return Path.Combine(folder, "loadtests", "results", "figures.json");
        return Path.Combine("loadtests", "results", "figures.json");
    }
}
