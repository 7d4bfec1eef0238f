using System.Globalization;

namespace FlashSale.LoadTests.Targets;

/// <summary>A process as the kernel describes it in /proc/PID/stat.</summary>
/// <param name="State">R runs, S and D wait, T is stopped, Z and X are gone.</param>
/// <param name="Ticks">Processor time used so far, in user and kernel mode, in ticks of a hundredth of a
/// second.</param>
/// <param name="EndedTicks">The same time of its children that have ended and that it has seen end.</param>
/// <param name="Resident">Memory in bytes.</param>
internal sealed record ProcessStat(int Pid, char State, int Parent, long Ticks, long EndedTicks, long Resident)
{
    /// <summary>Returns all processes of this machine.</summary>
    public static IEnumerable<ProcessStat> All() =>
        Directory.EnumerateDirectories("/proc").Select(folder => int.TryParse(Path.GetFileName(folder), out var pid) ? Read(pid) : null).OfType<ProcessStat>();

    /// <summary>Returns a process, or null if it does not exist.</summary>
    public static ProcessStat? Read(int pid)
    {
        try
        {
            // The text is: pid (name) state ppid … Fields 14 to 17 are the times, and field 24 is the memory in pages.
            // The name may hold spaces and parentheses.
            var text = File.ReadAllText($"/proc/{pid}/stat");
            var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
            return new ProcessStat(pid, fields[0][0], int.Parse(fields[1], CultureInfo.InvariantCulture), Number(11) + Number(12), Number(13) + Number(14), Number(21) * Environment.SystemPageSize);

            long Number(int field) => long.Parse(fields[field], CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
