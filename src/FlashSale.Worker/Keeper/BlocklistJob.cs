using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Publishes what Redis lacks of the blocklist, four times a second: what an Admin host that died had no time for, what an
/// import brought, what Redis lost.
/// </summary>
public sealed class BlocklistJob(BlocklistPublisher publisher, MigrateInBackground migrations, ILogger<BlocklistJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(250), migrations, logger)
{
    /// <inheritdoc />
    protected override Task RunAsync(CancellationToken cancellation) => publisher.KeepAsync(cancellation);
}

/// <summary>Clears the blocklist of what has ended, every hour.</summary>
public sealed partial class BlocklistPruneJob(BlocklistPublisher publisher, MigrateInBackground migrations, ILogger<BlocklistPruneJob> logger)
    : PeriodicJob(TimeSpan.FromHours(1), migrations, logger)
{
    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        var (rows, entries) = await publisher.PruneAsync(cancellation);
        if (rows + entries > 0) LogPruned(rows, entries);
    }

    [LoggerMessage(1, LogLevel.Information, "Cleared the blocklist of {Rows} rows in Postgres and {Entries} entries in Redis that stand for nothing any more")]
    private partial void LogPruned(int rows, long entries);
}
