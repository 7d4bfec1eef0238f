using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// A scenario under load. One thread of its own looks at the clock and sends copies to the thread pool when they are due, all that are due at once; it
/// reckons each arrival only when it comes to it. So a run that falls behind catches up with late starts, which are counted as such, and holds no list of them.
/// </summary>
internal sealed class ScenarioRun(ScenarioProps scenario, LoadProfile profile, int seed, Action<string?, string> stop)
{
    internal static readonly IResponse Threw = Response.Fail("exception");

    private static readonly TimeSpan Least = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private readonly Stack<ScenarioContext> _idle = [];
    private readonly CancellationTokenSource _over = new();
    private readonly CancellationTokenSource _cancel = new();
    private readonly TaskCompletionSource _dispatched = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _began;
    private int _copies;
    private int _roundGoing;
    private int _roundWanted;

    public ScenarioProps Scenario => scenario;

    public ScenarioMeasurements Measurements { get; } = new();

    public CancellationToken Cancel => _cancel.Token;

    public TimeSpan Elapsed => _began == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_began);

    /// <summary>How long the load lasted: as meant, or until it was ended early.</summary>
    public TimeSpan Duration { get; private set; } = profile.Duration;

    public double IntendedRate => profile.RateAt(Elapsed);

    public long Unfinished { get; private set; }

    /// <summary>Runs the load to its end, and waits for the copies that are in flight.</summary>
    public async Task RunAsync()
    {
        _began = Stopwatch.GetTimestamp();
        new Thread(Dispatch) { IsBackground = true, Name = $"arrivals of {scenario.Name}" }.Start();
        await _dispatched.Task;
        if (!await AloneAsync(scenario.Limits.CompletionTimeout))
        {
            await _cancel.CancelAsync();
            Unfinished = Measurements.InFlight;
            await AloneAsync(LastWords);
        }
    }

    public bool IsOver => _dispatched.Task.IsCompleted;

    /// <summary>It was ended early, or will be at once.</summary>
    public bool IsEnded => _over.IsCancellationRequested;

    /// <summary>No more arrivals.</summary>
    public void End() => _over.Cancel();

    public void Stop(string? scenarioName, string reason) => stop(scenarioName, reason);

    public async Task IterateAsync(ScenarioContext copy)
    {
        var goesRound = copy.GoesRound;
        do
        {
            copy.Begin();
            var late = Math.Max(0, copy.ActualStart - copy.IntendedStart);
            Measurements.Begin(late);
            IResponse response;
            try
            {
                response = await scenario.Run!(copy);
            }
            catch (Exception e)
            {
                response = Response.Fail(Threw.StatusCode, e.GetType().Name);
            }
            var took = Stopwatch.GetTimestamp() - copy.ActualStart;
            Measurements.End(response, took + late, took);
            if (Measurements.Whole.Fail.Count >= scenario.MaxFailCount) Stop(scenario.Name, $"{scenario.MaxFailCount} iterations have failed");
            if (goesRound)
            {
                // One that never really waits must not keep the thread from the others.
                await Task.Yield();
                copy.IntendedStart = Stopwatch.GetTimestamp();
            }
        }
        while (goesRound && GoesOn());
        // In this order, so that whoever sees a place free finds the copy too.
        lock (_gate) _idle.Push(copy);
        Measurements.Leave();
    }

    private void Dispatch()
    {
        try
        {
            using var arrivals = profile.Arrivals().GetEnumerator();
            var more = arrivals.MoveNext();
            while (!_over.IsCancellationRequested)
            {
                var now = Stopwatch.GetElapsedTime(_began);
                SendRound(profile.CopiesAt(now));
                more = SendDue(arrivals, more, now);
                if (!more && now >= profile.Duration) break;
                // The kernel wakes a thread to the millisecond; what falls due meanwhile is late by less than that, and counted so.
                var pause = more ? arrivals.Current - Stopwatch.GetElapsedTime(_began) : Look;
                // Due already, and still here: it waits for a copy.
                if (more && arrivals.Current <= now) pause = Least;
                if (pause > TimeSpan.Zero) _over.Token.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(Math.Clamp(Math.Ceiling(pause.TotalMilliseconds), Least.TotalMilliseconds, Look.TotalMilliseconds)));
            }
            if (_over.IsCancellationRequested) Duration = Stopwatch.GetElapsedTime(_began);
            Volatile.Write(ref _roundWanted, 0);
            _dispatched.SetResult();
        }
        catch (Exception e)
        {
            _dispatched.SetException(e);
        }
    }

    // All arrivals due by now. Those that find no copy free wait here, one at a time, while they may; what is due behind them waits with them.
    private bool SendDue(IEnumerator<TimeSpan> arrivals, bool more, TimeSpan now)
    {
        while (more && arrivals.Current <= now)
        {
            var due = arrivals.Current;
            if (Measurements.InFlight >= scenario.Limits.CopiesCap)
            {
                if (Stopwatch.GetElapsedTime(_began) - due < scenario.Limits.Wait) return true;
                Measurements.FallDue();
                Measurements.Miss();
            }
            else
            {
                Measurements.FallDue();
                Send(Free(), _began + (long)(due.TotalSeconds * Stopwatch.Frequency));
            }
            more = arrivals.MoveNext();
        }
        return more;
    }

    private void SendRound(int wanted)
    {
        Volatile.Write(ref _roundWanted, wanted);
        while (Volatile.Read(ref _roundGoing) < wanted)
        {
            Interlocked.Increment(ref _roundGoing);
            var copy = Free();
            copy.GoesRound = true;
            Send(copy, Stopwatch.GetTimestamp());
        }
    }

    private bool GoesOn()
    {
        for (var going = Volatile.Read(ref _roundGoing); going > Volatile.Read(ref _roundWanted);)
        {
            var was = Interlocked.CompareExchange(ref _roundGoing, going - 1, going);
            if (was == going) return false;
            going = was;
        }
        return true;
    }

    private void Send(ScenarioContext copy, long intended)
    {
        copy.IntendedStart = intended;
        Measurements.Enter();
        ThreadPool.UnsafeQueueUserWorkItem(copy, preferLocal: false);
    }

    private ScenarioContext Free()
    {
        lock (_gate)
        {
            if (_idle.TryPop(out var copy))
            {
                copy.GoesRound = false;
                return copy;
            }
        }
        var number = _copies++;
        return new ScenarioContext(this, new ScenarioInfo(scenario.Name, $"{scenario.Name}-{number}", number, profile.Duration), unchecked(seed * 486_187_739 + number));
    }

    private async Task<bool> AloneAsync(TimeSpan patience)
    {
        for (var began = Stopwatch.GetTimestamp(); Measurements.InFlight > 0; await Task.Delay(10))
            if (Stopwatch.GetElapsedTime(began) > patience) return false;
        return true;
    }
}
