using System.Diagnostics;
using System.Security.Cryptography;

namespace FlashSale.LoadTests.Targets;

/// <summary>
/// How fast this machine is over time: a fixed piece of work, four times a second. Virtual machines slow down by half for seconds when others work beside them,
/// and nothing that runs on one can be compared with what ran on it before.
/// </summary>
internal sealed class MachineSpeed : IDisposable
{
    // Larger than the nearest caches, and short enough to be done before a scheduler takes the processor away.
    private const int Bytes = 1 << 20;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(0.25);

    private readonly Lock _sync = new();
    private readonly List<(DateTimeOffset At, double Microseconds)> _pieces = [];
    private readonly ManualResetEventSlim _ended = new();

    /// <summary>Begins to measure.</summary>
    public MachineSpeed() => new Thread(Work) { IsBackground = true, Name = "speed of the machine" }.Start();

    /// <summary>What a piece took between two moments, microseconds, the median; NaN when there was none.</summary>
    public double Between(DateTimeOffset from, DateTimeOffset to)
    {
        lock (_sync)
        {
            double[] took = [.. _pieces.Where(piece => piece.At >= from && piece.At < to).Select(piece => piece.Microseconds).Order()];
            return took.Length == 0 ? double.NaN : took[took.Length / 2];
        }
    }

    /// <inheritdoc />
    public void Dispose() => _ended.Set();

    private void Work()
    {
        var work = new byte[Bytes];
        var hash = new byte[SHA256.HashSizeInBytes];
        while (!_ended.Wait(Interval))
        {
            var startedAt = Stopwatch.GetTimestamp();
            SHA256.HashData(work, hash);
            var took = Stopwatch.GetElapsedTime(startedAt).TotalMicroseconds;
            lock (_sync) _pieces.Add((TimeProvider.System.GetUtcNow(), took));
        }
    }
}
