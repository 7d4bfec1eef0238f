using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Publishes to Redis the blocklist entries that it lacks, four times a second: entries that an Admin host wrote before
/// it died, entries of an import, and entries that Redis lost.
/// </summary>
public sealed class BlocklistJob(BlocklistPublisher publisher, MigrateInBackground migrations, ILogger<BlocklistJob> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(250), migrations, logger)
{
    /// <inheritdoc />
    protected override Task RunAsync(CancellationToken cancellation) => publisher.KeepAsync(cancellation);
}

/// <summary>Clears ended and removed entries from the blocklist, in Postgres and in Redis, every hour.</summary>
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
