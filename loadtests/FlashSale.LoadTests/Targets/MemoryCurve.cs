namespace FlashSale.LoadTests.Targets;

/// <summary>
/// Records the memory of a process on this machine every half second, until the process or this program ends.
/// </summary>
internal sealed class MemoryCurve
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(0.5);

    private readonly Lock _sync = new();
    private readonly List<(DateTimeOffset At, long Bytes)> _looks = [];

    /// <summary>Starts to look at a process.</summary>
    public MemoryCurve(int pid) => _ = LookAsync(pid);

    /// <summary>Returns the most memory that was seen between two moments, in MB. 0 when nothing was seen.</summary>
    public double MostBetween(DateTimeOffset from, DateTimeOffset to)
    {
        lock (_sync) return _looks.Where(look => look.At >= from && look.At < to).Select(look => look.Bytes / 1048576.0).DefaultIfEmpty().Max();
    }

    private async Task LookAsync(int pid)
    {
        using var timer = new PeriodicTimer(Interval);
        while (ProcessStat.Read(pid) is { } stat)
        {
            lock (_sync) _looks.Add((TimeProvider.System.GetUtcNow(), stat.Resident));
            await timer.WaitForNextTickAsync();
        }
    }
}
