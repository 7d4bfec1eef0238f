using System.Collections.Concurrent;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>One purchase as its shopper saw it.</summary>
public sealed record Attempt(string UserId, string Key, string Sku, int Quantity, Answer Answer)
{
    /// <summary>Whether the shopper cannot know the outcome.</summary>
    public bool IsUnknown => Answer.Status == 0 || Answer.Code == "outcome_unknown";

    /// <summary>The time of the answer, in microseconds of <see cref="RunClock"/>.</summary>
    public long EndedMicroseconds { get; } = RunClock.Microseconds;

    /// <summary>The attempt in the form that the judge reads.</summary>
    public Told Told => new(EndedMicroseconds - (long)Answer.Took.TotalMicroseconds, EndedMicroseconds, UserId, Key, Sku, Quantity, Answer.Status, Answer.Code ?? "",
        Answer.Status == 202 ? Answer.OrderId : Guid.Empty, Answer.IsReplay, Told.HashOf(Answer.Body));
}

/// <summary>
/// All answers that shoppers got to their purchases in one sale. The judge checks the promises against them.
/// </summary>
public sealed class History
{
    private readonly ConcurrentQueue<Attempt> _attempts = new();

    public IReadOnlyCollection<Attempt> Attempts => _attempts;

    /// <summary>The first acceptance of each (user, key).</summary>
    public IReadOnlyList<Attempt> Accepted => [.. Attempts.Where(a => a.Answer.Status == 202).DistinctBy(a => (a.UserId, a.Key))];

    /// <summary>The attempts for the judge, in the order of their answers.</summary>
    public IEnumerable<Told> Told => _attempts.Select(attempt => attempt.Told);

    public void Add(Attempt attempt) => _attempts.Enqueue(attempt);

    /// <summary>
    /// Checks that every shopper was sold to. On a machine that stalls, a shopper may have been told that the outcome
    /// is unknown, but then a retry with the same key has settled it.
    /// </summary>
    public void AssertEveryoneWasServed()
    {
        var served = Attempts.Where(a => a.Answer.Status == 202).Select(a => (a.UserId, a.Key)).ToHashSet();
        var failed = Attempts.Where(a => !(a.Answer.Status == 202 || (a.Answer.Code == "outcome_unknown" && served.Contains((a.UserId, a.Key))))).ToArray();
        Assert.True(failed.Length == 0, $"{failed.Length} purchases failed, such as {failed.FirstOrDefault()}. All answers: {Summary}");
    }

    /// <summary>The number of times that each answer was given, for messages.</summary>
    public string Summary => string.Join(", ", Attempts.CountBy(a => $"{a.Answer.Status} {a.Answer.Code}".TrimEnd()).OrderBy(g => g.Key).Select(g => $"{g.Key}: {g.Value}"));
}
