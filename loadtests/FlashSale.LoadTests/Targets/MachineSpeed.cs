using System.Diagnostics;
using System.Security.Cryptography;

namespace FlashSale.LoadTests.Targets;

/// <summary>
/// Measures how fast this machine is over time, by a fixed piece of work four times a second. A virtual machine slows
/// down by half for seconds when others work beside it. Then a program on it cannot be compared with a program that ran
/// before.
/// </summary>
internal sealed class MachineSpeed : IDisposable
{
    // The piece of work is larger than the nearest caches, and short enough to be done before a scheduler takes the
    // processor away.
    private const int Bytes = 1 << 20;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(0.25);

    private readonly Lock _sync = new();
    private readonly List<(DateTimeOffset At, double Microseconds)> _pieces = [];
    private readonly ManualResetEventSlim _ended = new();

    /// <summary>Starts the measurement on a thread of its own.</summary>
    public MachineSpeed() => new Thread(Work) { IsBackground = true, Name = "speed of the machine" }.Start();

    /// <summary>
    /// Returns the median time of a piece of work between two moments, in microseconds. NaN if no piece fell between
    /// them.
    /// </summary>
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
