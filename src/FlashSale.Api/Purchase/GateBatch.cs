using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>
/// The purchases that share a call of reserve.lua, and the answering of them. A thread of the pool answers them in
/// place, one after the other, because queueing an answer costs more than writing it. The gate itself never answers. A
/// connection may hold the answering thread as long as it has further requests in its buffer. Another thread then
/// answers the rest.
/// </summary>
/// <param name="capacity">Most purchases of the batch.</param>
/// <param name="answered">Called when all purchases are answered and the batch is empty again.</param>
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

    /// <summary>Whether the batch can take no more purchases.</summary>
    public bool IsFull => _count == _records.Length;

    /// <summary>The records of the purchases, as reserve.lua reads them.</summary>
    public ReadOnlyMemory<byte[]> Records => _records.AsMemory(0, _count);

    /// <summary>The tickets of the purchases, null for one without. Empty when no purchase brought a ticket.</summary>
    public ReadOnlyMemory<byte[]?> Tickets => _hasTickets ? _tickets.AsMemory(0, _count) : default;

    /// <summary>The place for the decisions, in the order of the purchases.</summary>
    public Memory<ReserveDecision> Decisions => _decisions.AsMemory(0, _count);

    /// <summary>Adds a purchase to a batch that is not full. Only one caller at a time.</summary>
    public Task<GateResult> Add(byte[] record, byte[]? ticket)
    {
        var waiting = new TaskCompletionSource<GateResult>();
        _records[_count] = record;
        _tickets[_count] = ticket;
        _hasTickets |= ticket is not null;
        _waiting[_count++] = waiting;
        return waiting.Task;
    }

    /// <summary>Lets the pool answer all purchases, and returns at once.</summary>
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
