using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Admission;

/// <summary>What the shopper host can do without, from the first thing to go to the last.</summary>
[Flags]
public enum Features
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>GET /api/v1/sales.</summary>
    SaleLists = 1,

    /// <summary>GET /api/v1/orders: a shopper's history.</summary>
    OrderHistory = 2,

    /// <summary>Order streams, and the stock behind a sale page's availability.</summary>
    LiveFigures = 4,

    /// <summary>Sale pages that may be cached for a second only.</summary>
    FreshSalePages = 8,

    /// <summary>Polling an order as often as one likes.</summary>
    FastPolling = 16,

    /// <summary>Tickets without a proof of work.</summary>
    TicketsWithoutChallenge = 32,

    /// <summary>Purchases of everybody, not only of a share of the users.</summary>
    PurchasesForAll = 64,

    /// <summary>Purchases.</summary>
    Purchases = 128,
}

/// <summary>What operators have set about degradation; the form is http-contract's.</summary>
/// <param name="Level">0-5; null lets each node follow its own pressure, between floor and ceiling.</param>
/// <param name="Reason">For people.</param>
/// <param name="Until">When level and switches end, Unix milliseconds.</param>
/// <param name="Floor">Lowest automatic level.</param>
/// <param name="Ceiling">Highest automatic level.</param>
/// <param name="On">Features on whatever the level.</param>
/// <param name="Off">Features off whatever the level.</param>
public sealed record SwitchDocument(int? Level, string Reason, long? Until, int Floor, int Ceiling, Features On, Features Off)
{
    /// <summary>The highest level: purchases suspended.</summary>
    public const int MaxLevel = 5;

    /// <summary>A member that answers carry, and that is passed over in a request: the nodes as they are.</summary>
    public const string Nodes = "nodes";

    private const int MaxReason = 500;

    /// <summary>The features as JSON names them, with the level from which on each is off.</summary>
    public static IReadOnlyList<(string Name, Features Feature, int OffFrom)> Known { get; } =
    [
        ("saleLists", Features.SaleLists, 1), ("orderHistory", Features.OrderHistory, 1), ("liveFigures", Features.LiveFigures, 1),
        ("freshSalePages", Features.FreshSalePages, 2), ("fastPolling", Features.FastPolling, 2),
        ("ticketsWithoutChallenge", Features.TicketsWithoutChallenge, 3),
        ("purchasesForAll", Features.PurchasesForAll, 4),
        ("purchases", Features.Purchases, 5),
    ];

    /// <summary>What a level turns off.</summary>
    public static Features OffAt(int level) => Known.Where(known => known.OffFrom <= level).Aggregate(Features.None, (all, known) => all | known.Feature);

    /// <summary>Reads a document; what is wrong with it, by line, goes to <paramref name="errors"/>, and then it is of no use.</summary>
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
