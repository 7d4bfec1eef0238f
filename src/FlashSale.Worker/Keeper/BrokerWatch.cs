using FlashSale.Worker.Relay;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Ends a worker when its consumer or relay does not come back although the broker answers. With MassTransit 8.5.12,
/// publishes to a hanging node stay stuck for as long as it hangs, in a cluster of which the other nodes answer.
/// MassTransit 8.4.0 also kept a connection that failed while it was being made, and waited for it without end. With
/// 8.5.12 the consumer came back within 20 s in five of five trials of resets. In such a state every pack stays in the
/// queue, or every reservation in its outbox, until a new process takes over. The supervisor starts the worker again,
/// and nothing that the worker holds is lost with it.
/// </summary>
public sealed partial class BrokerWatch(BrokerBacklog broker, RelayHealth relay, ILogger<BrokerWatch> logger) : BackgroundService
{
    // MassTransit waits up to 30 s between two attempts. The streak takes longer, so a worker that merely waits goes
    // on.
    private const int LooksInARow = 5;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10);

    // Unknown answers may lie between two answers of a streak. Answers that lie further apart belong to different
    // outages.
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
        // An orderly end would wait for the bus. A signal would not end the first process of a container.
        Environment.Exit(1);
    }

    [LoggerMessage(1, LogLevel.Critical, "The broker answers, and nobody has consumed the queue of reservations for {Seconds} s: this worker ends, to be started again")]
    private partial void LogDeserted(int seconds);

    [LoggerMessage(2, LogLevel.Critical, "The broker confirms what others publish, and for {Seconds} s nothing of the relay's: this worker ends, to be started again")]
    private partial void LogUnconfirmed(int seconds);
}
