using System.Diagnostics;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using Polly.CircuitBreaker;

namespace FlashSale.Api.Purchase;

/// <summary>How a call of the gate ended.</summary>
public enum GateOutcome : byte
{
    /// <summary>Redis has decided the purchase.</summary>
    Decided,

    /// <summary>Redis did not run the script, so nothing was bought.</summary>
    Unavailable,

    /// <summary>The script may have run, so the purchase may have been accepted.</summary>
    Unknown,
}

/// <summary>
/// The outcome of a purchase. The decision counts only when the outcome is <see cref="GateOutcome.Decided"/>.
/// </summary>
public readonly record struct GateResult(GateOutcome Outcome, ReserveDecision Decision);

/// <summary>
/// Brings the purchases of one sale to Redis. Purchases that wait at the same moment share a call. While a call is
/// under way the next purchases gather. They go together when it returns, or as soon as they fill a call. A purchase
/// that comes alone goes at once.
/// </summary>
public sealed class PurchaseGate(SaleKeys keys, ReserveScript script, RedisConnection redis, Dependency breaker, ScriptFigures figures, PurchaseOptions options)
{
    private readonly Lock _sync = new();
    private readonly Stack<GateBatch> _idle = new();
    private GateBatch? _gathering;
    private int _underWay;

    /// <summary>The epoch of the sale as this node knows it. The script refuses another one.</summary>
    public long Epoch { get; set; }

    /// <summary>Brings a purchase's record to reserve.lua. Never throws.</summary>
    /// <param name="record">The purchase as <see cref="Contracts.ReservationCodec"/> encodes it.</param>
    /// <param name="ticket">The result of <see cref="FlashSale.Admission.Tickets.Read"/> in a sale that requires
    /// tickets. Null when the purchase brought none.</param>
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

    // The next call leaves before the purchases of the last one are answered, so that Redis works while this node
    // writes.
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
            // After any other exception the script may have run.
            return GateOutcome.Unknown;
        }
    }

    private Task CallScriptAsync(GateBatch batch) => script.DecideAsync(
        keys, Epoch, redis.NowMilliseconds + options.DeadlineMilliseconds, batch.Records, batch.Tickets, batch.Decisions, options.Deadline);

    // After a failure the purchases that gathered meanwhile are refused at once, because a call of their own would take
    // as long again.
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
