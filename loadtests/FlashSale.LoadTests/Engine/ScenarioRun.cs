using System.Diagnostics;

namespace FlashSale.LoadTests.Engine;

/// <summary>
/// Runs a scenario under load. One dedicated thread watches the clock and sends all copies that are due to the thread
/// pool at once. It computes each arrival only when it comes to it. So a run that falls behind catches up with late
/// starts, which count as late, and it holds no list of arrivals.
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

    /// <summary>Length of the load: the intended one, or the time until the load was ended early.</summary>
    public TimeSpan Duration { get; private set; } = profile.Duration;

    public double IntendedRate => profile.RateAt(Elapsed);

    public long Unfinished { get; private set; }

    /// <summary>Runs the load to its end, and waits for the copies in flight.</summary>
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

    /// <summary>Whether the load was ended early, or will be at once.</summary>
    public bool IsEnded => _over.IsCancellationRequested;

    /// <summary>Stops all further arrivals.</summary>
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
                // A copy that never really waits must not keep the thread from the other copies.
                await Task.Yield();
                copy.IntendedStart = Stopwatch.GetTimestamp();
            }
        }
        while (goesRound && GoesOn());
        // The order matters: first the copy becomes idle, then its place becomes free. So the dispatcher that sees a
        // free place also finds the copy.
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
                // The kernel wakes a thread with a precision of 1 ms. Arrivals that fall due meanwhile start late by
                // less than that, and the lag counts it.
                var pause = more ? arrivals.Current - Stopwatch.GetElapsedTime(_began) : Look;
                // This arrival is due already, but it waits for a free copy.
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

    // Sends all arrivals that are due, and returns whether more will come. An arrival that finds no free copy waits
    // here, one at a time, for as long as it may. Later arrivals wait behind it.
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
