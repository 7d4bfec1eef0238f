using System.Diagnostics.Metrics;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Worker.Orders;

/// <summary>
/// Tells Redis of operators' decisions on dead letters where the host that recorded the decision died first, or found
/// Redis away. Until then the units of such a reservation stay in flight. The job also counts and logs the dead letters
/// that wait for a decision.
/// </summary>
public sealed partial class DeadLetterJob : PeriodicJob
{
    private static readonly Meter Meter = new("FlashSale.DeadLetters");

    private readonly DeadLetters _letters;
    private readonly ILogger<DeadLetterJob> _logger;
    private long _open;

    /// <summary>Registers the gauge.</summary>
    public DeadLetterJob(DeadLetters letters, MigrateInBackground migrations, ILogger<DeadLetterJob> logger)
        : base(TimeSpan.FromSeconds(1), migrations, logger)
    {
        (_letters, _logger) = (letters, logger);
        Meter.CreateObservableGauge("flashsale_dead_letters", () => Interlocked.Read(ref _open), description: "Reservations that cannot be stored and wait for an operator, of all workers.");
    }

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        await _letters.SettleDecidedAsync(cancellation);
        var open = await _letters.CountOpenAsync(cancellation);
        if (open > Interlocked.Exchange(ref _open, open)) LogWaiting(open);
    }

    [LoggerMessage(2, LogLevel.Error, "{Count} reservations cannot be stored and wait for an operator: GET /api/v1/dead-letters of Admin shows why")]
    private partial void LogWaiting(long count);
}
