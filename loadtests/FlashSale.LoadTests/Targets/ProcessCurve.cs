namespace FlashSale.LoadTests.Targets;

/// <summary>What a process of this machine holds and has used over time, looked at every half second until it or this program ends.</summary>
internal sealed class ProcessCurve
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(0.5);

    private readonly Lock _sync = new();
    private readonly List<(DateTimeOffset At, ProcessStat Stat)> _looks = [];

    private ProcessCurve()
    {
    }

    /// <summary>Begins to look.</summary>
    public static ProcessCurve Of(int pid)
    {
        var curve = new ProcessCurve();
        _ = curve.LookAsync(pid);
        return curve;
    }

    /// <summary>The most memory that was seen between two moments, in MB; 0 when nothing was.</summary>
    public double MostMegabytes(DateTimeOffset from, DateTimeOffset to) => Between(from, to).Select(look => look.Stat.Resident / 1048576.0).DefaultIfEmpty().Max();

    /// <summary>The share of one processor that it used between two moments; 0 when it was not seen twice.</summary>
    public double Cores(DateTimeOffset from, DateTimeOffset to)
    {
        var looks = Between(from, to);
        return looks.Length < 2 ? 0 : (looks[^1].Stat.Ticks - looks[0].Stat.Ticks) * ProcessorTime.MicrosecondsPerTick / (looks[^1].At - looks[0].At).TotalMicroseconds;
    }

    private (DateTimeOffset At, ProcessStat Stat)[] Between(DateTimeOffset from, DateTimeOffset to)
    {
        lock (_sync) return [.. _looks.Where(look => look.At >= from && look.At < to)];
    }

    private async Task LookAsync(int pid)
    {
        using var timer = new PeriodicTimer(Interval);
        while (ProcessStat.Read(pid) is { } stat)
        {
            lock (_sync) _looks.Add((TimeProvider.System.GetUtcNow(), stat));
            await timer.WaitForNextTickAsync();
        }
    }
}
