namespace FlashSale.Orders;

/// <summary>
/// Keys of the things that this node changed a moment ago. A replica may not know those changes yet. Safe for use by
/// many threads.
/// </summary>
/// <param name="time">The clock.</param>
/// <param name="recent">The time for which a change counts as recent.</param>
public sealed class RecentChanges<TKey>(TimeProvider time, TimeSpan recent) where TKey : notnull
{
    private readonly Lock _sync = new();
    private readonly Dictionary<TKey, long> _changedAt = [];
    private readonly Queue<(TKey Key, long At)> _inOrder = [];

    /// <summary>
    /// Remembers a change of <paramref name="key"/> now, and forgets changes that are no longer recent.
    /// </summary>
    public void Add(TKey key)
    {
        var now = time.GetTimestamp();
        lock (_sync)
        {
            while (_inOrder.TryPeek(out var oldest) && time.GetElapsedTime(oldest.At, now) >= recent)
            {
                _inOrder.Dequeue();
                // The same key may have changed again since. That later change stays.
                if (_changedAt.TryGetValue(oldest.Key, out var last) && last == oldest.At) _changedAt.Remove(oldest.Key);
            }
            _changedAt[key] = now;
            _inOrder.Enqueue((key, now));
        }
    }

    /// <summary>Whether this node changed <paramref name="key"/> within the recent time.</summary>
    public bool Contains(TKey key)
    {
        lock (_sync) return _changedAt.TryGetValue(key, out var at) && time.GetElapsedTime(at) < recent;
    }
}
