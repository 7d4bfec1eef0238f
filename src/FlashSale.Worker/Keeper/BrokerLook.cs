namespace FlashSale.Worker.Keeper;

/// <summary>
/// One look at the broker, shared by all sales that were found at the same moment to lack something in Redis: packs that
/// the broker holds were sold, and are to reach Postgres before a sale is verified or loaded.
/// </summary>
public sealed class BrokerLook
{
    private static readonly TimeSpan LoadPatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan VerifyPatience = TimeSpan.FromSeconds(1);

    private volatile bool _isInVain;

    /// <summary>Begins to look.</summary>
    public BrokerLook(BrokerBacklog backlog, CancellationToken cancellation)
    {
        BeforeLoading = LookAsync(backlog, cancellation);
        BeforeVerifying = Task.WhenAny(BeforeLoading, Task.Delay(VerifyPatience, cancellation));
    }

    /// <summary>Ends once the queue has drained, or after a second: a sale that can sell on should not be kept from it for long.</summary>
    public Task BeforeVerifying { get; }

    /// <summary>Ends once the queue has drained, or after a while: Postgres judges orders that come later, so nothing is oversold.</summary>
    public Task BeforeLoading { get; }

    /// <summary>Whether it is over and did not find the queue drained: a sale that still needs it begins another.</summary>
    public bool IsInVain => _isInVain;

    private async Task LookAsync(BrokerBacklog backlog, CancellationToken cancellation)
    {
        var hasDrained = false;
        try
        {
            hasDrained = await backlog.DrainedAsync(LoadPatience, cancellation);
        }
        finally
        {
            _isInVain = !hasDrained;
        }
    }
}
