namespace FlashSale.Orders;

/// <summary>What was changed through this node a moment ago: a replica may not know it yet. Safe for use by many threads.</summary>
/// <param name="time">The clock.</param>
/// <param name="recent">How long a change counts.</param>
public sealed class RecentChanges<TKey>(TimeProvider time, TimeSpan recent) where TKey : notnull
{
    private readonly Lock _sync = new();
    private readonly Dictionary<TKey, long> _changedAt = [];
    private readonly Queue<(TKey Key, long At)> _inOrder = [];

    /// <summary>Remembers a change, and forgets those that are no longer recent.</summary>
    public void Add(TKey key)
    {
        var now = time.GetTimestamp();
        lock (_sync)
        {
            while (_inOrder.TryPeek(out var oldest) && time.GetElapsedTime(oldest.At, now) >= recent)
            {
                _inOrder.Dequeue();
                // A later change of the same key stays.
                if (_changedAt.TryGetValue(oldest.Key, out var last) && last == oldest.At) _changedAt.Remove(oldest.Key);
            }
            _changedAt[key] = now;
            _inOrder.Enqueue((key, now));
        }
    }

    /// <summary>Whether it was changed a moment ago.</summary>
    public bool Contains(TKey key)
    {
        lock (_sync) return _changedAt.TryGetValue(key, out var at) && time.GetElapsedTime(at) < recent;
    }
}
