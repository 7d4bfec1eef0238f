using FlashSale.Contracts;

namespace FlashSale.Orders;

/// <summary>
/// Looks for stored orders on behalf of many callers at once. Each order has one look at a time, which answers every
/// caller that asked before it began. After a look that found nothing, the next one begins a second later. So a caller
/// always gets the answer of a look that began after the question, and does not miss an order that left Redis for
/// Postgres after another caller's look. Thread-safe and bounded in memory.
/// </summary>
/// <param name="look">Looks for an order in Postgres. Must end in a bounded time.</param>
/// <param name="time">Measures the second between looks.</param>
public sealed class SharedLooks(Func<Guid, Task<Order?>> look, TimeProvider time)
{
    private const int MaxRemembered = 10_000;

    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    // Longer than a purchase may take from the making of its id to its acceptance, including clocks that differ.
    private static readonly TimeSpan AcceptedWithin = TimeSpan.FromMinutes(5);

    private readonly Lock _sync = new();
    private readonly Dictionary<Guid, Looked> _orders = [];
    private readonly Queue<(Guid OrderId, long MissedAt)> _misses = new();

    /// <summary>The number of ids that are remembered or being looked for.</summary>
    public int Remembered
    {
        get
        {
            lock (_sync) return _orders.Count;
        }
    }

    /// <summary>
    /// Finds a stored order. Null when it was not stored at a moment after the call, or can never be.
    /// </summary>
    /// <param name="orderId">Id of the order.</param>
    /// <param name="notInFlight">Whether the caller has just seen that the order is not in flight either.</param>
    /// <param name="resting">
    /// Called when the caller has to wait for the next look, up to a second. It can give back resources that other
    /// requests need meanwhile.
    /// </param>
    public Task<Order?> FindAsync(Guid orderId, bool notInFlight, Action? resting = null)
    {
        Task<Order?> answer;
        Looked order;
        bool rests, isRunning;
        lock (_sync)
        {
            if (!_orders.TryGetValue(orderId, out order!)) _orders[orderId] = order = new Looked();
            // The order was neither in flight nor stored, and its id is too old to be accepted now. It will never
            // appear.
            if (order.NeverWas && IsWithinRest(order) && !MayStillBeAccepted(orderId)) return Task.FromResult<Order?>(null);
            order.Next ??= new TaskCompletionSource<Order?>(TaskCreationOptions.RunContinuationsAsynchronously);
            order.NextKnowsFlight |= notInFlight;
            answer = order.Next.Task;
            (rests, isRunning) = (IsWithinRest(order), order.IsRunning);
            order.IsRunning = true;
        }
        if (rests) resting?.Invoke();
        if (!isRunning) _ = RunAsync(orderId, order);
        return answer;
    }

    private async Task RunAsync(Guid orderId, Looked order)
    {
        while (true)
        {
            // Loop, since a timer may end a moment early.
            while (order.MissedAt is { } missedAt && Rest - time.GetElapsedTime(missedAt) is { Ticks: > 0 } rest) await Task.Delay(rest, time);
            var (asked, knowsFlight) = Take(order);
            try
            {
                var looking = look(orderId);
                var startedAt = time.GetTimestamp();
                var found = await looking;
                lock (_sync)
                {
                    order.MissedAt = found is null ? startedAt : null;
                    order.NeverWas = found is null && knowsFlight;
                }
                asked.SetResult(found);
            }
            catch (Exception e)
            {
                lock (_sync) (order.MissedAt, order.NeverWas) = (null, false);
                asked.SetException(e);
            }
            if (Rests(orderId, order)) return;
        }
    }

    // From here on, new callers wait for the next look.
    private (TaskCompletionSource<Order?> Asked, bool KnowsFlight) Take(Looked order)
    {
        lock (_sync)
        {
            // Next is never null here, because a look runs only while a caller waits for it.
            var taken = (order.Next!, order.NextKnowsFlight);
            (order.Next, order.NextKnowsFlight) = (null, false);
            return taken;
        }
    }

    // No caller waits any more, so the order is forgotten. A miss is remembered for its second while there is room.
    private bool Rests(Guid orderId, Looked order)
    {
        lock (_sync)
        {
            if (order.Next is not null) return false;
            order.IsRunning = false;
            if (order.MissedAt is { } missedAt) _misses.Enqueue((orderId, missedAt));
            else _orders.Remove(orderId);
            while (_misses.TryPeek(out var oldest) && (_misses.Count > MaxRemembered || time.GetElapsedTime(oldest.MissedAt) >= Rest))
            {
                _misses.Dequeue();
                if (_orders.TryGetValue(oldest.OrderId, out var known) && !known.IsRunning && known.MissedAt == oldest.MissedAt) _orders.Remove(oldest.OrderId);
            }
            return true;
        }
    }

    private bool IsWithinRest(Looked order) => order.MissedAt is { } missedAt && time.GetElapsedTime(missedAt) < Rest;

    private bool MayStillBeAccepted(Guid orderId) => OrderId.IssuedAt(orderId) > time.GetUtcNow() - AcceptedWithin;

    private sealed class Looked
    {
        public TaskCompletionSource<Order?>? Next;
        public bool NextKnowsFlight;
        public bool IsRunning;
        public long? MissedAt;
        public bool NeverWas;
    }
}
