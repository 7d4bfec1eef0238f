using FlashSale.Admission;
using FlashSale.Platform;

namespace FlashSale.Worker.Keeper;

/// <summary>Publishes what operators have set and Redis does not know, because it forgot or because nobody came to tell it.</summary>
public sealed class OpsKeeper(OpsSettings settings, MigrateInBackground migrations, ILogger<OpsKeeper> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(500), migrations, logger)
{
    /// <inheritdoc />
    protected override Task RunAsync(CancellationToken cancellation) => settings.PublishAsync(cancellation);
}
