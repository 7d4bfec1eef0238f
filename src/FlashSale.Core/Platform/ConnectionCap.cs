using System.Diagnostics.Metrics;
using System.Globalization;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// Counts the connections of a host's own port, and closes those beyond the limit before it reads anything from them.
/// </summary>
public sealed partial class ConnectionCap
{
    private const long LogIntervalMilliseconds = 10_000;

    private static readonly Meter Meter = new("FlashSale.Transport");

    private readonly Counter<long> _refused = Meter.CreateCounter<long>("flashsale_connections_refused_total", description: "Connections closed at once, since there were too many.");
    private readonly ILogger _logger;
    private readonly int _max;
    private int _open;
    private long _loggedAt = -LogIntervalMilliseconds;

    /// <summary>
    /// Takes the limit from the settings, or nine tenths of the files that the process may open if that is less.
    /// </summary>
    public ConnectionCap(TransportOptions options, ILogger<ConnectionCap> logger)
    {
        _logger = logger;
        // A process that has no file descriptor left cannot accept on any port, nor open a connection to its stores.
        _max = (int)Math.Min(options.MaxConnections, Math.Max(1, OpenFileLimit() / 10 * 9));
        if (_max < options.MaxConnections) LogLowered(_max, options.MaxConnections);
        Meter.CreateObservableGauge("flashsale_connections", () => Volatile.Read(ref _open), description: "Open connections of the host's own port.");
    }

    /// <summary>Most connections at once.</summary>
    public int Max => _max;

    /// <summary>The connection middleware. It serves a connection within the limit and aborts any other.</summary>
    public ConnectionDelegate Before(ConnectionDelegate next) => connection =>
    {
        if (Interlocked.Increment(ref _open) <= _max) return ServeAsync(connection, next);
        Interlocked.Decrement(ref _open);
        _refused.Add(1);
        LogSometimes();
        connection.Abort();
        return Task.CompletedTask;
    };

    private async Task ServeAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        try
        {
            await next(connection);
        }
        finally
        {
            Interlocked.Decrement(ref _open);
        }
    }

    private void LogSometimes()
    {
        var now = Environment.TickCount64;
        var before = Volatile.Read(ref _loggedAt);
        if (now - before >= LogIntervalMilliseconds && Interlocked.CompareExchange(ref _loggedAt, now, before) == before) LogFull(_max);
    }

    // Reads the soft limit, which the runtime raises to the hard one when it starts. Only Linux has this file, so other
    // systems count as unlimited.
    private static long OpenFileLimit()
    {
        const string Limits = "/proc/self/limits";
        if (!File.Exists(Limits)) return long.MaxValue;
        var line = File.ReadLines(Limits).FirstOrDefault(line => line.StartsWith("Max open files", StringComparison.Ordinal));
        var words = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words is { Length: > 3 } && long.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : long.MaxValue;
    }

    [LoggerMessage(1, LogLevel.Warning, "All {Max} connections are taken; further ones are closed at once")]
    private partial void LogFull(int max);

    [LoggerMessage(2, LogLevel.Warning, "At most {Max} connections instead of Transport:MaxConnections = {Wanted}: the process may open no more files")]
    private partial void LogLowered(int max, int wanted);
}
