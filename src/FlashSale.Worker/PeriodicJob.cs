using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>
/// Work that is looked at again and again, once the schema is up to date. Any number of workers run the same job: what is
/// done twice must be done once, in SQL. With a store away it waits, anything else is told, and the next turn comes.
/// </summary>
public abstract partial class PeriodicJob(TimeSpan interval, MigrateInBackground migrations, ILogger logger) : BackgroundService
{
    /// <summary>One turn.</summary>
    protected abstract Task RunAsync(CancellationToken cancellation);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await migrations.Done.WaitAsync(stoppingToken);
        using var timer = new PeriodicTimer(interval);
        do
        {
            try
            {
                await RunAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
            {
                // A service that throws would end the host.
                if (!Stores.IsAway(e)) LogFailed(GetType().Name, e);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    [LoggerMessage(1, LogLevel.Error, "{Job} failed; it is tried again")]
    private partial void LogFailed(string job, Exception e);
}
