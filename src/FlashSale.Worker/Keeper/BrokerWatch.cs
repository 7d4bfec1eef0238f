using FlashSale.Worker.Relay;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Ends a worker whose consumer or relay does not come back although the broker answers. With MassTransit 8.5.12 the publishes to a
/// node that hangs stay stuck for as long as it does, in a cluster of which the other nodes answer. 8.4.0 also kept a connection
/// that failed while it was being made, and waited for it without end; with 8.5.12 the consumer came back within 20 s in five of
/// five trials of resets. Every pack stays in the queue then, or every reservation in its outbox, until the process is another
/// one. Its supervisor starts it again, and nothing that it holds is lost with it.
/// </summary>
public sealed partial class BrokerWatch(BrokerBacklog broker, RelayHealth relay, ILogger<BrokerWatch> logger) : BackgroundService
{
    // Between two attempts MassTransit waits up to 30 s: whoever merely waits is left alone.
    private const int LooksInARow = 5;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    // Between two answers there may be some that nobody knows; older ones belong to another outage.
    private static readonly TimeSpan LongestGap = Interval * 6;

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval);
        var (deserted, unconfirmed) = (new Streak(LooksInARow, LongestGap), new Streak(LooksInARow, LongestGap));
        while (!deserted.IsComplete && !unconfirmed.IsComplete)
        {
            await timer.WaitForNextTickAsync(stoppingToken);
            deserted.Add(await broker.IsDesertedAsync(stoppingToken), Environment.TickCount64);
            unconfirmed.Add(relay.IsFailing ? await broker.ConfirmsAsync(stoppingToken) : BrokerAnswer.No, Environment.TickCount64);
        }
        var seconds = (LooksInARow - 1) * (int)Interval.TotalSeconds;
        if (deserted.IsComplete) LogDeserted(seconds);
        else LogUnconfirmed(seconds);
        // An orderly end would wait for the bus; a signal would not end the first process of a container.
        Environment.Exit(1);
    }

    [LoggerMessage(1, LogLevel.Critical, "The broker answers, and nobody has consumed the queue of reservations for {Seconds} s: this worker ends, to be started again")]
    private partial void LogDeserted(int seconds);

    [LoggerMessage(2, LogLevel.Critical, "The broker confirms what others publish, and for {Seconds} s nothing of the relay's: this worker ends, to be started again")]
    private partial void LogUnconfirmed(int seconds);
}
