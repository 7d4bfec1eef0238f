namespace FlashSale.Worker;

/// <summary>
/// Whether this worker may change orders in the Postgres that it reaches. It may from the first heartbeat there that fits
/// the memory of Redis, and may not while it reaches a primary that a failover left behind: orders stored there would
/// leave Redis and be in no store that anybody uses. Thread-safe.
/// </summary>
public sealed class PostgresPrimary
{
    private volatile TaskCompletionSource _trusted = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Whether the worker may change orders now.</summary>
    public bool IsTrusted => _trusted.Task.IsCompleted;

    /// <summary>Waits until the worker may change orders.</summary>
    public Task TrustedAsync(CancellationToken cancellation) => _trusted.Task.WaitAsync(cancellation);

    /// <summary>A heartbeat fitted.</summary>
    public void Trust() => _trusted.TrySetResult();

    /// <summary>A heartbeat showed a primary that was left behind.</summary>
    public void Distrust()
    {
        if (IsTrusted) _trusted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
