namespace FlashSale.Api.Orders;

/// <summary>Somebody who waits for news of an order. Thread-safe.</summary>
public sealed class OrderWatch(Guid orderId, string saleId) : IDisposable
{
    private readonly SemaphoreSlim _woken = new(0);
    private int _announced;

    /// <summary>Which order.</summary>
    public Guid OrderId => orderId;

    /// <summary>Its sale.</summary>
    public string SaleId => saleId;

    /// <summary>Wakes the watcher: the order has changed.</summary>
    public void Announced()
    {
        Volatile.Write(ref _announced, 1);
        Wake();
    }

    /// <summary>Wakes the watcher for another reason.</summary>
    public void Wake()
    {
        // One that has been woken already and has not looked yet need not be woken again.
        if (_woken.CurrentCount == 0) _woken.Release();
    }

    /// <summary>Waits to be woken, at most as long as given.</summary>
    /// <returns>Whether the order was announced since the last wait.</returns>
    public async Task<bool> WaitAsync(TimeSpan longest)
    {
        await _woken.WaitAsync(longest);
        return Interlocked.Exchange(ref _announced, 0) == 1;
    }

    /// <inheritdoc />
    public void Dispose() => _woken.Dispose();
}
