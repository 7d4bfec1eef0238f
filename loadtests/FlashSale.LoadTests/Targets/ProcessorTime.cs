using System.Globalization;

namespace FlashSale.LoadTests.Targets;

/// <summary>
/// Reads the processor time of a stack's parts on this machine from /proc. It is the cost of a run for each of them.
/// </summary>
public static class ProcessorTime
{
    // USER_HZ is 100 on every Linux that .NET runs on.
    private const double MicrosecondsPerTick = 10_000;

    /// <summary>
    /// Returns the microseconds used so far by the name of the part. Child processes are included, also those that have
    /// ended. Parts that do not run here are left out.
    /// </summary>
    public static IReadOnlyDictionary<string, double> Of(IReadOnlyDictionary<string, int> processes)
    {
        var times = new Dictionary<string, double>(StringComparer.Ordinal);
        if (processes.Count == 0 || !OperatingSystem.IsLinux()) return times;
        var all = ProcessStat.All().ToArray();
        foreach (var (name, pid) in processes)
        {
            var ticks = all.Where(stat => stat.Pid == pid || stat.Parent == pid).Sum(stat => stat.Ticks + (stat.Pid == pid ? stat.EndedTicks : 0));
            if (ticks > 0) times[name] = ticks * MicrosecondsPerTick;
        }
        return times;
    }

    /// <summary>
    /// Returns the microseconds that all cores of this machine have worked so far (stolen time included), and their
    /// microseconds in all. Both are 0 where that is not known.
    /// </summary>
    public static (double Worked, double All) OfMachine()
    {
        if (!OperatingSystem.IsLinux()) return default;
        // The fields are: cpu user nice system idle iowait irq softirq steal
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Take(8).Select(text => double.Parse(text, CultureInfo.InvariantCulture)).ToArray();
        return ((ticks.Sum() - ticks[3] - ticks[4]) * MicrosecondsPerTick, ticks.Sum() * MicrosecondsPerTick);
    }
}
