using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Orders;

/// <summary>
/// Tells Redis of operators' decisions on dead letters that it was not told of: the host that had written one died before,
/// or found Redis away. Until then the units of such a reservation stay in flight.
/// </summary>
public sealed class DeadLetterJob(DeadLetters letters, MigrateInBackground migrations, ILogger<DeadLetterJob> logger)
    : PeriodicJob(TimeSpan.FromSeconds(1), migrations, logger)
{
    /// <inheritdoc />
    protected override Task RunAsync(CancellationToken cancellation) => letters.SettleDecidedAsync(cancellation);
}
