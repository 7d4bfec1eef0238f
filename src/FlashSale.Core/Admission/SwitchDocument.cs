using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>The features that the shopper host can turn off, in the order in which they go.</summary>
[Flags]
public enum Features
{
    /// <summary>No feature.</summary>
    None = 0,

    /// <summary>The list of sales: GET /api/v1/sales.</summary>
    SaleLists = 1,

    /// <summary>A shopper's history: GET /api/v1/orders.</summary>
    OrderHistory = 2,

    /// <summary>Order streams, and the stock figures behind the availability on sale pages.</summary>
    LiveFigures = 4,

    /// <summary>Sale pages that may be cached for only one second.</summary>
    FreshSalePages = 8,

    /// <summary>Polling an order without a Retry-After.</summary>
    FastPolling = 16,

    /// <summary>Tickets without a proof of work.</summary>
    TicketsWithoutChallenge = 32,

    /// <summary>Purchases by all users, instead of only a share of them.</summary>
    PurchasesForAll = 64,

    /// <summary>Purchases and requests for admission.</summary>
    Purchases = 128,
}

/// <summary>The degradation settings of operators. The HTTP contract describes their form.</summary>
/// <param name="Level">0-5. Null lets each node follow its own pressure, between floor and ceiling.</param>
/// <param name="Reason">The reason, for people.</param>
/// <param name="Until">The end of level and switches, Unix milliseconds. Null for no end.</param>
/// <param name="Floor">Lowest automatic level.</param>
/// <param name="Ceiling">Highest automatic level.</param>
/// <param name="On">Features that are on at every level.</param>
/// <param name="Off">Features that are off at every level.</param>
public sealed record SwitchDocument(int? Level, string Reason, long? Until, int Floor, int Ceiling, Features On, Features Off)
{
    /// <summary>The highest level. It suspends purchases.</summary>
    public const int MaxLevel = 5;

    /// <summary>A member of answers: the present state of each node. In a request it is ignored.</summary>
    public const string Nodes = "nodes";

    private const int MaxReason = 500;

    /// <summary>The features, their names in JSON, and the lowest level that turns each off.</summary>
    public static IReadOnlyList<(string Name, Features Feature, int OffFrom)> Known { get; } =
    [
        ("saleLists", Features.SaleLists, 1), ("orderHistory", Features.OrderHistory, 1), ("liveFigures", Features.LiveFigures, 1),
        ("freshSalePages", Features.FreshSalePages, 2), ("fastPolling", Features.FastPolling, 2),
        ("ticketsWithoutChallenge", Features.TicketsWithoutChallenge, 3),
        ("purchasesForAll", Features.PurchasesForAll, 4),
        ("purchases", Features.Purchases, 5),
    ];

    /// <summary>The features that a level turns off.</summary>
    public static Features OffAt(int level) => Known.Where(known => known.OffFrom <= level).Aggregate(Features.None, (all, known) => all | known.Feature);

    /// <summary>
    /// Reads a document. Its faults, with their lines, go to <paramref name="errors"/>. If there are any, the returned
    /// document must not be used.
    /// </summary>
    public static SwitchDocument Parse(ReadOnlySpan<byte> json, List<ProblemError> errors)
    {
        if (JsonPlace.Parse(json, errors) is not { } root) return new(null, "", null, 0, MaxLevel, Features.None, Features.None);
        var level = root.OptionalWhole("level", 0, MaxLevel);
        var reason = root.Text("reason", IsReason, $"1 to {MaxReason} characters that say why, without control characters");
        long? until = null;
        if (root.Text("until", text => Timestamps.TryRead(text, out _), Timestamps.Rule, missing: "") is { Length: > 0 } time && Timestamps.TryRead(time, out var end)) until = end;
        var floor = root.Whole("floor", 0, MaxLevel, missing: 0);
        var ceiling = root.Whole("ceiling", 0, MaxLevel, missing: DegradationOptions.DefaultCeiling);
        if (floor > ceiling) root.Error("floor", "must not be above the ceiling");
        var (on, off) = (Features.None, Features.None);
        if (root.Nested("switches") is { } switches)
        {
            foreach (var (name, feature, _) in Known)
            {
                var flag = switches.Flag(name);
                if (flag is true) on |= feature;
                if (flag is false) off |= feature;
            }
            switches.End();
        }
        if (until is not null && level is null && on == Features.None && off == Features.None)
            root.Error("until", "ends a level or switches, and none is set");
        root.Nested(Nodes);
        root.End();
        return new(level, reason, until, floor, ceiling, on, off);
    }

    private static bool IsReason(string text) => text.Length <= MaxReason && !string.IsNullOrWhiteSpace(text) && !text.Any(char.IsControl);
}
