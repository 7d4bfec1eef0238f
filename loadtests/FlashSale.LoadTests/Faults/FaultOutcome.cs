using FlashSale.LoadTests.Verdicts;

namespace FlashSale.LoadTests.Faults;

/// <summary>How a row ended.</summary>
public enum FaultVerdict
{
    /// <summary>The fault took hold, and every promise held.</summary>
    Pass,

    /// <summary>A promise is broken.</summary>
    Broken,

    /// <summary>Nothing is known: the fault did not take hold, or the run could not be judged.</summary>
    Inconclusive,
}

/// <summary>What one row with one seed has shown.</summary>
public sealed record FaultOutcome(string Row, int Seed)
{
    public FaultVerdict Verdict { get; init; }

    /// <summary>Purchases (not requests) whose last answer was a 202.</summary>
    public int Accepted { get; init; }

    /// <summary>Purchases that were told to come again later. Not those that came too late or wanted too much.</summary>
    public int Refused { get; init; }

    /// <summary>Purchases whose shopper gave up without knowing.</summary>
    public int Unknown { get; init; }

    /// <summary>From the end of the fault until a purchase begun after it was accepted and stored; null: never.</summary>
    public TimeSpan? Recovery { get; init; }

    /// <summary>Longest time from a shopper's first request to an answer that settled it, however often they came again; or to their last, where none did.</summary>
    public TimeSpan Slowest { get; init; }

    /// <summary>Acceptances that are no order, where the fault may cost them.</summary>
    public long Lost { get; init; }

    public IReadOnlyList<string> Violations { get; init; } = [];

    /// <summary>How it was seen that the fault took hold; or why nothing is known.</summary>
    public string Note { get; init; } = "";

    /// <summary>Counts what shoppers were told.</summary>
    public FaultOutcome WithHistory(string path)
    {
        // By purchase: when it began, and its last answer.
        var purchases = new Dictionary<(string User, string Key), Purchase>();
        foreach (var told in History.Read(path))
        {
            var purchase = purchases.GetValueOrDefault((told.UserId, told.Key), new Purchase(told.StartedMicroseconds, 0, WasUnknown: false, Answer: default));
            // What came first settled it: a replay asked for later does not count.
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

    /// <summary>Takes over what the promises' judge says.</summary>
    /// <param name="verdict">Over all answers and both stores.</param>
    /// <param name="recovery">Null: the sale did not come back.</param>
    /// <param name="evidence">How it was seen that the fault took hold; nothing: it was not.</param>
    /// <param name="whyNot">Why the fault could not be brought about as it should; null: it was.</param>
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
            // What is broken is broken, whether or not the fault did it.
            Verdict = violations.Count > 0 ? FaultVerdict.Broken : isConclusive ? FaultVerdict.Pass : FaultVerdict.Inconclusive,
            Note = string.Join("; ", ((string?[])[.. evidence.DefaultIfEmpty("nothing shows that the fault took hold"), whyNot, verdict.WhyNot]).Where(note => note is not null)),
        };
    }

    private sealed record Purchase(long Began, long Ended, bool WasUnknown, Told Answer)
    {
        public bool IsSettled => Ended > 0 && Answer.IsSettled(WasUnknown);
    }
}
