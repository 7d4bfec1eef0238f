namespace FlashSale.Api.Orders;

/// <summary>A stream's wait for news of an order. Thread-safe.</summary>
public sealed class OrderWatch(Guid orderId, string saleId) : IDisposable
{
    private readonly SemaphoreSlim _woken = new(0);
    private int _announced;

    /// <summary>The id of the order.</summary>
    public Guid OrderId => orderId;

    /// <summary>The id of the order's sale.</summary>
    public string SaleId => saleId;

    /// <summary>Wakes the watcher because the order has changed.</summary>
    public void Announced()
    {
        Volatile.Write(ref _announced, 1);
        Wake();
    }

    /// <summary>Wakes the watcher for another reason: the client has left, or the host ends.</summary>
    public void Wake()
    {
        // A watcher that was woken and has not looked yet need not be woken again.
        if (_woken.CurrentCount == 0) _woken.Release();
    }

    /// <summary>Waits until the watcher is woken, but no longer than <paramref name="longest"/>.</summary>
    /// <returns>Whether the order was announced since the last wait.</returns>
    public async Task<bool> WaitAsync(TimeSpan longest)
    {
        await _woken.WaitAsync(longest);
        return Interlocked.Exchange(ref _announced, 0) == 1;
    }

    /// <inheritdoc />
    public void Dispose() => _woken.Dispose();
}
