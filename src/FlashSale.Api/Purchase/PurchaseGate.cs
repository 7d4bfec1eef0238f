using System.Diagnostics;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Polly.CircuitBreaker;

namespace FlashSale.Api.Purchase;

/// <summary>How a call to the gate ended.</summary>
public enum GateOutcome : byte
{
    /// <summary>There is a decision.</summary>
    Decided,

    /// <summary>Redis did not run the script.</summary>
    Unavailable,

    /// <summary>The script may have run.</summary>
    Unknown,
}

/// <summary>A decision, or why there is none.</summary>
public readonly record struct GateResult(GateOutcome Outcome, ReserveDecision Decision);

/// <summary>
/// The way of one sale's purchases into Redis. Purchases that wait at the same moment share the trip: while a call is
/// under way the next gather, and go together when it returns, or as soon as they fill a call. One that comes alone
/// goes at once.
/// </summary>
public sealed class PurchaseGate(SaleKeys keys, ReserveScript script, RedisConnection redis, Dependency breaker, ScriptFigures figures, PurchaseOptions options)
{
    private readonly Lock _sync = new();
    private readonly Stack<GateBatch> _idle = new();
    private GateBatch? _gathering;
    private int _underWay;

    /// <summary>The fence of the sale as this node knows it.</summary>
    public long Epoch { get; set; }

    /// <summary>Takes a purchase's record to reserve.lua. Never throws.</summary>
    /// <param name="record">See <see cref="Contracts.ReservationCodec"/>.</param>
    /// <param name="ticket">In a sale that requires one: as <see cref="FlashSale.Admission.Tickets.Read"/> gives it, null where none came.</param>
    public Task<GateResult> ReserveAsync(byte[] record, byte[]? ticket)
    {
        GateBatch? full = null;
        Task<GateResult> result;
        lock (_sync)
        {
            _gathering ??= _idle.TryPop(out var idle) ? idle : new GateBatch(options.MaxBatch, Return);
            result = _gathering.Add(record, ticket);
            if (_underWay == 0 || _gathering.IsFull)
            {
                full = _gathering;
                _gathering = null;
                _underWay++;
            }
        }
        if (full is not null) _ = SendAsync(full);
        return result;
    }

    // The next call goes out before those of the last one are answered: Redis works while this node writes.
    private async Task SendAsync(GateBatch batch)
    {
        var deciding = DecideAsync(batch);
        while (true)
        {
            var outcome = await deciding;
            var next = Next(outcome);
            if (next is not null) deciding = DecideAsync(next);
            batch.Complete(outcome);
            if (next is null) return;
            batch = next;
        }
    }

    private async Task<GateOutcome> DecideAsync(GateBatch batch)
    {
        var startedAt = Stopwatch.GetTimestamp();
        var outcome = await CallAsync(batch);
        figures.Note(startedAt, failed: outcome is not GateOutcome.Decided);
        return outcome;
    }

    private async Task<GateOutcome> CallAsync(GateBatch batch)
    {
        try
        {
            await breaker.Breaker.ExecuteAsync(
                static (call, _) => new ValueTask(call.Gate.CallScriptAsync(call.Batch)), (Gate: this, Batch: batch));
            return GateOutcome.Decided;
        }
        catch (RedisUnavailableException)
        {
            return GateOutcome.Unavailable;
        }
        catch (BrokenCircuitException)
        {
            breaker.CountRejection();
            return GateOutcome.Unavailable;
        }
        catch (Exception)
        {
            // Whatever it was: the script may have run.
            return GateOutcome.Unknown;
        }
    }

    private Task CallScriptAsync(GateBatch batch) => script.DecideAsync(
        keys, Epoch, redis.NowMilliseconds + options.DeadlineMilliseconds, batch.Records, batch.Tickets, batch.Decisions, options.Deadline);

    // After a failure those who gathered meanwhile are told at once: their own trip would take as long again.
    private GateBatch? Next(GateOutcome outcome)
    {
        GateBatch? gathered;
        lock (_sync)
        {
            gathered = _gathering;
            _gathering = null;
            if (gathered is null || outcome is not GateOutcome.Decided) _underWay--;
        }
        if (gathered is null || outcome is GateOutcome.Decided) return gathered;
        gathered.Complete(GateOutcome.Unavailable);
        return null;
    }

    private void Return(GateBatch batch)
    {
        lock (_sync) _idle.Push(batch);
    }
}
