using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>
/// Purchases that share a call, and their answering. The answers are continued in place, one after the other, since to
/// queue each costs more than to write it; but on the pool, never on the gate's own way. A connection may hold its thread
/// for as long as it has further requests in its buffer: another thread then answers the rest.
/// </summary>
/// <param name="capacity">Most purchases.</param>
/// <param name="answered">Called when all are answered and the batch is empty again.</param>
public sealed class GateBatch(int capacity, Action<GateBatch> answered) : IThreadPoolWorkItem
{
    private readonly byte[][] _records = new byte[capacity][];
    private readonly byte[]?[] _tickets = new byte[]?[capacity];
    private readonly TaskCompletionSource<GateResult>?[] _waiting = new TaskCompletionSource<GateResult>?[capacity];
    private readonly ReserveDecision[] _decisions = new ReserveDecision[capacity];
    private int _count;
    private bool _hasTickets;
    private GateOutcome _outcome;
    private int _next;
    private int _threads;

    /// <summary>Whether no more fit in.</summary>
    public bool IsFull => _count == _records.Length;

    /// <summary>What reserve.lua takes of the purchases.</summary>
    public ReadOnlyMemory<byte[]> Records => _records.AsMemory(0, _count);

    /// <summary>Their tickets; empty where none brought one.</summary>
    public ReadOnlyMemory<byte[]?> Tickets => _hasTickets ? _tickets.AsMemory(0, _count) : default;

    /// <summary>Takes the decisions.</summary>
    public Memory<ReserveDecision> Decisions => _decisions.AsMemory(0, _count);

    /// <summary>Adds a purchase. One caller at a time.</summary>
    public Task<GateResult> Add(byte[] record, byte[]? ticket)
    {
        var waiting = new TaskCompletionSource<GateResult>();
        _records[_count] = record;
        _tickets[_count] = ticket;
        _hasTickets |= ticket is not null;
        _waiting[_count++] = waiting;
        return waiting.Task;
    }

    /// <summary>Lets the pool answer all, and returns at once.</summary>
    public void Complete(GateOutcome outcome)
    {
        _outcome = outcome;
        _next = 0;
        _threads = 1;
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    void IThreadPoolWorkItem.Execute()
    {
        if (Volatile.Read(ref _next) < _count - 1)
        {
            Interlocked.Increment(ref _threads);
            ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
        }
        for (int i; (i = Interlocked.Increment(ref _next) - 1) < _count;)
            _waiting[i]!.SetResult(new(_outcome, _outcome is GateOutcome.Decided ? _decisions[i] : default));
        if (Interlocked.Decrement(ref _threads) > 0) return;
        Clear();
        answered(this);
    }

    private void Clear()
    {
        Array.Clear(_records, 0, _count);
        Array.Clear(_waiting, 0, _count);
        if (_hasTickets) Array.Clear(_tickets, 0, _count);
        _hasTickets = false;
        _count = 0;
    }
}
