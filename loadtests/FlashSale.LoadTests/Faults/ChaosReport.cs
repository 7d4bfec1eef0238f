using System.Globalization;
using System.Text;

namespace FlashSale.LoadTests.Faults;

/// <summary>Writes the table of a fault run as Markdown.</summary>
public static class ChaosReport
{
    /// <param name="about">Description of the run: machine, versions, commit.</param>
    /// <param name="outcomes">The outcomes in the order in which they ran.</param>
    public static string Write(string about, IReadOnlyList<FaultOutcome> outcomes)
    {
        var text = new StringBuilder(about.TrimEnd());
        text.Append(CultureInfo.InvariantCulture, $"""


            {outcomes.Count} runs: {Count(outcomes, FaultVerdict.Pass)} passed, {Count(outcomes, FaultVerdict.Broken)} broke a promise, {Count(outcomes, FaultVerdict.Inconclusive)} inconclusive.

            Purchases are counted, not requests; a shopper who does not know comes again with the same key. Recovery: from the end of the fault (a killed server
            answers again; a killed host's end is its death) until a purchase begun after it was accepted and is in Postgres. Slowest: the longest that a shopper waited,
            all requests together, until they knew. Lost: acceptances that are no order, where the fault may cost them.

            | row | seed | accepted | refused | unknown | recovery, s | slowest, s | lost | violations | verdict | how the fault was seen |
            |---|---|---|---|---|---|---|---|---|---|---|

            """);
        foreach (var o in outcomes)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"| {o.Row} | {o.Seed} | {o.Accepted} | {o.Refused} | {o.Unknown} | {Seconds(o.Recovery)} | {Seconds(o.Slowest)} | {o.Lost} | {o.Violations.Count} | {o.Verdict.ToString().ToLowerInvariant()} | {Cell(o.Note)} |\n");
        }
        foreach (var o in outcomes.Where(o => o.Violations.Count > 0))
        {
            text.Append(CultureInfo.InvariantCulture, $"\n{o.Row}, seed {o.Seed}:\n\n");
            foreach (var violation in o.Violations) text.Append(CultureInfo.InvariantCulture, $"- {Cell(violation)}\n");
        }
        return text.ToString();
    }

    internal static string Seconds(TimeSpan? time) => time is { } span ? span.TotalSeconds.ToString("0.00", CultureInfo.InvariantCulture) : "never";

    private static int Count(IReadOnlyList<FaultOutcome> outcomes, FaultVerdict verdict) => outcomes.Count(o => o.Verdict == verdict);

    private static string Cell(string text) => text.ReplaceLineEndings(" ").Replace("|", "/", StringComparison.Ordinal);
}
