using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>
/// A job that runs a turn at a fixed interval, once the schema is up to date. Several workers run the same job at once,
/// so its SQL must make sure that work is done only once. After a turn that fails the next one follows: a store that is
/// away is passed over in silence, any other error is logged.
/// </summary>
public abstract partial class PeriodicJob(TimeSpan interval, MigrateInBackground migrations, ILogger logger, PostgresPrimary? primary = null) : BackgroundService
{
    /// <summary>Runs one turn. An exception ends the turn, not the job.</summary>
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
                if (primary is null or { IsTrusted: true }) await RunAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
            {
                // An exception that leaves the service would end the host.
                if (!Stores.IsAway(e)) LogFailed(GetType().Name, e);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    [LoggerMessage(1, LogLevel.Error, "{Job} failed; it is tried again")]
    private partial void LogFailed(string job, Exception e);
}
