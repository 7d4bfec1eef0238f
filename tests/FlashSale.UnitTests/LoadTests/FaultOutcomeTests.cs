using FlashSale.LoadTests.Faults;
using FlashSale.LoadTests.Verdicts;

namespace FlashSale.UnitTests.LoadTests;

/// <summary>
/// Tests the outcome of a fault run. A fault that did not take hold is no pass, and a broken promise is always
/// reported.
/// </summary>
public sealed class FaultOutcomeTests : IDisposable
{
    private static readonly TimeSpan Recovered = TimeSpan.FromSeconds(1);
    private static readonly string[] Seen = ["1 process died"];

    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void A_fault_that_took_hold_and_broke_nothing_is_a_pass() => Assert.Equal(FaultVerdict.Pass, Judge(Verdict(), Recovered, Seen).Verdict);

    [Fact]
    public void A_fault_that_nobody_saw_is_inconclusive() => Assert.Equal(FaultVerdict.Inconclusive, Judge(Verdict(), Recovered, []).Verdict);

    [Fact]
    public void A_fault_that_could_not_be_made_to_its_end_is_inconclusive() => Assert.Equal(FaultVerdict.Inconclusive, Judge(Verdict(), Recovered, Seen, "mounting is not permitted").Verdict);

    [Fact]
    public void A_run_that_came_to_no_rest_is_inconclusive() => Assert.Equal(FaultVerdict.Inconclusive, Judge(Verdict(whyNot: "no rest"), Recovered, Seen).Verdict);

    [Fact]
    public void A_broken_promise_is_told_even_where_nothing_shows_the_fault()
    {
        var outcome = Judge(Verdict("I1: sold 11 of 10"), Recovered, []);
        Assert.Equal(FaultVerdict.Broken, outcome.Verdict);
        Assert.Contains("I1: sold 11 of 10", ChaosReport.Write("# Title", [outcome]));
    }

    [Fact]
    public void A_sale_that_does_not_come_back_is_a_broken_promise() => Assert.Equal(FaultVerdict.Broken, Judge(Verdict(), null, Seen).Verdict);

    [Fact]
    public async Task Purchases_are_counted_once_by_the_answer_that_settled_them()
    {
        await using (var history = History.Create(_path))
        {
            history.Add(Told("a", 0, 100, 202));
            // The third request settles this purchase. Its time counts from the first request.
            history.Add(Told("b", 0, 1_000_000, 0));
            history.Add(Told("b", 1_100_000, 1_200_000, 503, "outcome_unknown"));
            history.Add(Told("b", 1_300_000, 2_500_000, 202));
            history.Add(Told("c", 0, 300, 409, "sold_out"));
            history.Add(Told("d", 0, 400, 0));
            history.Add(Told("e", 0, 500, 503, "overloaded"));
            // The second answer decides nothing about the first request.
            history.Add(Told("f", 0, 600, 0));
            history.Add(Told("f", 700, 2_600_000, 503, "temporarily_unavailable"));
            // A replay that is asked for later changes nothing.
            history.Add(Told("a", 9_000_000, 9_000_100, 202));
        }
        var outcome = new FaultOutcome("row", 1).WithHistory(_path);
        Assert.Equal((2, 1, 2), (outcome.Accepted, outcome.Refused, outcome.Unknown));
        Assert.Equal(TimeSpan.FromSeconds(2.6), outcome.Slowest);
    }

    [Fact]
    public void A_shopper_who_never_learns_the_outcome_is_a_broken_promise() =>
        Assert.Contains("I7: 3 shoppers", Assert.Single(Judge(Verdict() with { Unsettled = 3 }, Recovered, Seen).Violations));

    [Fact]
    public void Every_row_has_a_name_of_its_own() => Assert.Equal(Rows.All.Count, Rows.All.DistinctBy(row => row.Name).Count());

    private static FaultOutcome Judge(VerdictResult verdict, TimeSpan? recovery, string[] evidence, string? whyNot = null) =>
        new FaultOutcome("row", 1).WithVerdict(verdict, recovery, evidence, whyNot);

    private static Told Told(string key, long started, long ended, int status, string code = "") => new(started, ended, "user-" + key, key, "sku", 1, status, code, Guid.Empty, false, 0);

    private static VerdictResult Verdict(string? violation = null, string? whyNot = null) => new()
    {
        Violations = violation is null ? [] : [violation],
        ViolationCounts = new Dictionary<string, long>(),
        IsConclusive = whyNot is null,
        WhyNot = whyNot,
        Answers = new Dictionary<string, long>(),
        Accepted = 0, Orders = 0, Lost = 0, Unsettled = 0, PersistSeconds = 0, RestTook = TimeSpan.Zero,
    };
}
