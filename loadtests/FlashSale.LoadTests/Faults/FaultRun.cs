using System.Diagnostics;
using System.Globalization;
using FlashSale.LoadTests.Targets;
using FlashSale.LoadTests.Verdicts;
using Npgsql;

namespace FlashSale.LoadTests.Faults;

/// <summary>
/// Runs a row with a seed. It puts a sale of its own under load, brings the fault about at a moment drawn from the
/// seed, ends the fault and waits for the recovery. The verdict covers all answers to shoppers and both stores.
/// </summary>
public sealed class FaultRun(FaultStack stack, Row row, int seed)
{
    private const int Plenty = 200_000;

    // This stock sells out at about the time of the fault.
    private const int Few = 400;

    private const int WarmUp = 300;
    private const int LongestReason = 400;

    private static readonly TimeSpan Ready = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan EarliestFault = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LatestFault = TimeSpan.FromMilliseconds(3_500);
    private static readonly TimeSpan LongestRecovery = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan AfterRecovery = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(90);

    private readonly Random _random = new(HashCodeOf(row.Name) ^ seed);

    /// <summary>Runs the row to its end.</summary>
    /// <param name="tell">Takes a line of progress.</param>
    /// <param name="cancel">Breaks the run off. The run heals the fault all the same.</param>
    public async Task<FaultOutcome> RunAsync(Action<string> tell, CancellationToken cancel)
    {
        var fault = new Fault(stack, _random);
        FaultOutcome? outcome = null;
        try
        {
            // An earlier row may have left a server down. That must not count for this row.
            foreach (var server in (Part[])[Part.Redis, Part.RabbitMq, Part.Postgres]) await stack.StartAsync(server);
            await stack.ReadyAsync(Ready);
            try
            {
                await row.Prepare(fault);
                await stack.ReadyAsync(Ready);
                outcome = await SellAsync(fault, tell, cancel);
            }
            finally
            {
                await fault.EndAsync();
            }
            return outcome;
        }
        catch (Exception e) when (e is not OperationCanceledException || !cancel.IsCancellationRequested)
        {
            // A broken promise that was found stands, even if a later step failed.
            return outcome is { Verdict: FaultVerdict.Broken } ? outcome with { Note = $"{outcome.Note}; {Reason(e)}" }
                : new FaultOutcome(row.Name, seed) { Verdict = FaultVerdict.Inconclusive, Note = Reason(e) };
        }
    }

    private async Task<FaultOutcome> SellAsync(Fault fault, Action<string> tell, CancellationToken cancel)
    {
        using var sale = await LoadSale.OpenAsync(fault.Target, $"Fault {row.Name} {seed}", [new LoadItem("first", Plenty), new LoadItem("second", Plenty), new LoadItem("few", Few)], cancel: cancel);
        foreach (var api in fault.Apis) await sale.OpenAtAsync(api, cancel);
        fault.Sale = sale;
        var path = Path.Combine(stack.Folder, "log", $"chaos-{row.Name}-{seed}.history");
        TimeSpan? recovery;
        long healed;
        await using (var history = History.Create(path))
        await using (var buyers = new Buyers(fault.Target, sale, history, new BuyersOptions { Apis = fault.Apis }))
        {
            if (!await StoredSinceAsync(fault.Target, sale, 0, WarmUp, LongestRecovery, cancel)) throw new InconclusiveException($"the sale came to no {WarmUp} orders before the fault.");
            healed = await BreakAsync(fault, tell, cancel);
            var clock = Stopwatch.StartNew();
            recovery = await StoredSinceAsync(fault.Target, sale, healed, 1, LongestRecovery, cancel) ? clock.Elapsed : null;
            await Task.Delay(AfterRecovery, cancel);
            await buyers.StopAsync();
            await sale.CloseAsync(cancel);
            // Where the fault may cost acceptances, the replay of a lost purchase would buy again.
            if (row.Loss == Loss.None) await buyers.ReplayAsync(cancel);
        }
        var verdict = await Verdict.CheckAsync(fault.Target, sale, path, row.Loss, Rest, cancel, healed);
        return new FaultOutcome(row.Name, seed).WithHistory(path).WithVerdict(verdict, recovery, fault.Evidence, fault.WhyNot);
    }

    /// <returns>The time at which the fault had ended, by <see cref="RunClock"/>.</returns>
    private async Task<long> BreakAsync(Fault fault, Action<string> tell, CancellationToken cancel)
    {
        var moment = EarliestFault + _random.NextDouble() * (LatestFault - EarliestFault);
        var lasts = row.Lasts * (row.LastsAtRandom ? _random.NextDouble() : 1);
        tell(string.Create(CultureInfo.InvariantCulture, $"fault after {moment.TotalSeconds:0.00} s, for {lasts.TotalSeconds:0.0} s"));
        await Task.Delay(moment, cancel);
        try
        {
            await row.Inject(fault);
            await Task.Delay(lasts, cancel);
        }
        catch (Exception e) when (e is not OperationCanceledException || !cancel.IsCancellationRequested)
        {
            // The run goes on, because the promises are judged all the same.
            fault.WhyNot = Reason(e);
        }
        finally
        {
            // Heal runs as one more of the undo steps, and every step runs even if another one fails. A server that
            // does not start must not leave a worker frozen.
            fault.AtHeal(() => row.Heal(fault));
            try
            {
                await fault.HealAsync();
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancel.IsCancellationRequested)
            {
                fault.WhyNot ??= Reason(e);
            }
        }
        return RunClock.Microseconds;
    }

    /// <summary>
    /// Waits until the given number of purchases accepted since a moment are in Postgres. The query uses the judge's
    /// own connection, which does not pass the proxy.
    /// </summary>
    /// <param name="since">Unix microseconds. Redis stamps the acceptances, and it has the clock of this
    /// machine.</param>
    private static async Task<bool> StoredSinceAsync(Target target, LoadSale sale, long since, int orders, TimeSpan deadline, CancellationToken cancel)
    {
        await using var source = NpgsqlDataSource.Create(Verdict.ConnectionString(target.Postgres));
        await using var command = source.CreateCommand("select count(*) from orders where sale_id = $1 and accepted_at > to_timestamp($2 / 1e6)");
        command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = sale.Id });
        command.Parameters.Add(new NpgsqlParameter<double> { TypedValue = since });
        for (var clock = Stopwatch.StartNew(); clock.Elapsed < deadline; await Task.Delay(20, cancel))
        {
            try
            {
                if ((long)(await command.ExecuteScalarAsync(cancel))! >= orders) return true;
            }
            catch (NpgsqlException)
            {
                // Postgres has just been started. It may end sessions once more, or accept no session yet.
            }
        }
        return false;
    }

    // Long messages are cut here. The log of the command or server has the full text.
    private static string Reason(Exception e)
    {
        var text = (e is InconclusiveException ? e.Message : $"{e.GetType().Name}: {e.Message}").ReplaceLineEndings(" ");
        return text.Length <= LongestReason ? text : text[..LongestReason] + "…";
    }

    // This hash is the same in every process, unlike string.GetHashCode.
    private static int HashCodeOf(string text) => text.Aggregate(17, (hash, letter) => unchecked(hash * 31 + letter));
}
