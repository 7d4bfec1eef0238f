namespace FlashSale.Worker.Keeper;

/// <summary>
/// One look at the broker, shared by all sales that were found at the same moment to lack something in Redis. The packs
/// that the broker holds were sold, and should reach Postgres before a sale is verified or loaded.
/// </summary>
public sealed class BrokerLook
{
    private static readonly TimeSpan LoadPatience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan VerifyPatience = TimeSpan.FromSeconds(1);

    private volatile bool _isInVain;

    /// <summary>Begins the look.</summary>
    public BrokerLook(BrokerBacklog backlog, CancellationToken cancellation)
    {
        BeforeLoading = LookAsync(backlog, cancellation);
        BeforeVerifying = Task.WhenAny(BeforeLoading, Task.Delay(VerifyPatience, cancellation));
    }

    /// <summary>
    /// Ends once the queue has drained, or after 1 s: a sale that can sell on should not be kept from it for long.
    /// </summary>
    public Task BeforeVerifying { get; }

    /// <summary>
    /// Ends once the queue has drained, or after 20 s: Postgres judges orders that come later, so nothing is oversold.
    /// </summary>
    public Task BeforeLoading { get; }

    /// <summary>
    /// Whether the look is over and did not find the queue drained. A sale that still needs a look begins another one.
    /// </summary>
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
