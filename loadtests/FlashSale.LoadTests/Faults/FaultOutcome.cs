using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Faults;

/// <summary>Result of a row.</summary>
public enum FaultVerdict
{
    /// <summary>The fault took hold, and every promise held.</summary>
    Pass,

    /// <summary>A promise is broken.</summary>
    Broken,

    /// <summary>The run proves nothing: the fault did not take hold, or the run could not be judged.</summary>
    Inconclusive,
}

/// <summary>Outcome of one row with one seed.</summary>
public sealed record FaultOutcome(string Row, int Seed)
{
    public FaultVerdict Verdict { get; init; }

    /// <summary>Number of purchases (not requests) that got a 202 as their last answer.</summary>
    public int Accepted { get; init; }

    /// <summary>
    /// Number of purchases that were told to come again later. Purchases that came too late or wanted too much are not
    /// counted.
    /// </summary>
    public int Refused { get; init; }

    /// <summary>Number of purchases for which the shopper gave up without knowing the outcome.</summary>
    public int Unknown { get; init; }

    /// <summary>
    /// Time from the end of the fault until a purchase begun after it was accepted and stored. Null: never.
    /// </summary>
    public TimeSpan? Recovery { get; init; }

    /// <summary>
    /// Longest time from a shopper's first request to an answer that settled the purchase, however often the shopper
    /// came again. If no answer settled it, the time to the last answer.
    /// </summary>
    public TimeSpan Slowest { get; init; }

    /// <summary>Number of acceptances without an order, where the fault may cost them.</summary>
    public long Lost { get; init; }

    public IReadOnlyList<string> Violations { get; init; } = [];

    /// <summary>How the run saw that the fault took hold, or why the run proves nothing.</summary>
    public string Note { get; init; } = "";

    /// <summary>Returns a copy with the counts of the answers that shoppers got.</summary>
    public FaultOutcome WithHistory(string path)
    {
        // The map holds for each purchase the time at which it began and its last answer.
        var purchases = new Dictionary<(string User, string Key), Purchase>();
        foreach (var told in History.Read(path))
        {
            var purchase = purchases.GetValueOrDefault((told.UserId, told.Key), new Purchase(told.StartedMicroseconds, 0, WasUnknown: false, Answer: default));
            // The first answer that settles a purchase counts. A replay that was asked for later does not count.
            if (purchase.IsSettled) continue;
            purchases[(told.UserId, told.Key)] = purchase with { Ended = told.EndedMicroseconds, WasUnknown = purchase.WasUnknown || told.IsUnknown, Answer = told };
        }
        return this with
        {
            Accepted = purchases.Values.Count(purchase => purchase.Answer.IsAccepted),
            Refused = purchases.Values.Count(purchase => purchase is { IsSettled: true, Answer: { IsAccepted: false, IsDecision: false } }),
            Unknown = purchases.Values.Count(purchase => !purchase.IsSettled),
            Slowest = TimeSpan.FromMicroseconds(purchases.Values.Select(purchase => purchase.Ended - purchase.Began).DefaultIfEmpty().Max()),
        };
    }

    /// <summary>Returns a copy with the verdict of the judge of the promises.</summary>
    /// <param name="verdict">The verdict over all answers and both stores.</param>
    /// <param name="recovery">Null: the sale did not come back.</param>
    /// <param name="evidence">How the run saw that the fault took hold. Empty: it did not see it.</param>
    /// <param name="whyNot">Why the fault could not be brought about as it should. Null: it was.</param>
    public FaultOutcome WithVerdict(VerdictResult verdict, TimeSpan? recovery, IReadOnlyList<string> evidence, string? whyNot)
    {
        List<string> violations = [.. verdict.Violations];
        if (verdict.Unsettled > 0) violations.Add($"I7: {verdict.Unsettled} shoppers asked again and again, and never learnt what became of their purchases");
        if (recovery is null) violations.Add("I8: no purchase that began after the fault was accepted and stored in time");
        var isConclusive = evidence.Count > 0 && whyNot is null && verdict.IsConclusive;
        return this with
        {
            Recovery = recovery,
            Lost = verdict.Lost,
            Violations = violations,
            // A broken promise counts as broken, whether or not the fault caused it.
            Verdict = violations.Count > 0 ? FaultVerdict.Broken : isConclusive ? FaultVerdict.Pass : FaultVerdict.Inconclusive,
            Note = string.Join("; ", ((string?[])[.. evidence.DefaultIfEmpty("nothing shows that the fault took hold"), whyNot, verdict.WhyNot]).Where(note => note is not null)),
        };
    }

    private sealed record Purchase(long Began, long Ended, bool WasUnknown, Told Answer)
    {
        public bool IsSettled => Ended > 0 && Answer.IsSettled(WasUnknown);
    }
}
