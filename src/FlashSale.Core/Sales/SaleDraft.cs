namespace FlashSale.Sales;

/// <summary>What a campaign manager says about a sale; every value is within its bounds.</summary>
/// <param name="Name">For people, 1-200 characters.</param>
/// <param name="OpensAt">Unix milliseconds, before <paramref name="ClosesAt"/>.</param>
/// <param name="ClosesAt">Unix milliseconds.</param>
/// <param name="PerUserLimit">Units of one user over all items; null when there is none.</param>
/// <param name="PayWithinSeconds">How long an order may stay unpaid.</param>
/// <param name="RequiresTicket">Whether a purchase needs a ticket.</param>
/// <param name="AdmissionPerSecond">Tickets per second of the whole sale, over all nodes; null when there is no bound.</param>
/// <param name="IsLoadRun">Whether its shoppers are a load generator's: no list and no event tells of it.</param>
/// <param name="Items">What is on sale, each sku once.</param>
public sealed record SaleDraft(
    string Name, long OpensAt, long ClosesAt, int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun,
    IReadOnlyList<ItemDraft> Items);

/// <summary>What a campaign manager says about an item.</summary>
/// <param name="Sku">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Name">For people, 1-200 characters.</param>
/// <param name="Price">Of one unit, minor units.</param>
/// <param name="ListPrice">The price it has elsewhere, minor units of the same currency.</param>
/// <param name="Currency">ISO 4217.</param>
/// <param name="Stock">Units.</param>
/// <param name="PerUserLimit">Units of this item that one user may buy.</param>
public sealed record ItemDraft(string Sku, string Name, long Price, long? ListPrice, string Currency, int Stock, int PerUserLimit);

/// <summary>The bounds of what can be said about a sale.</summary>
public static class SaleBounds
{
    /// <summary>Most characters of a name.</summary>
    public const int MaxName = 200;

    /// <summary>Most items of a sale: a node holds them all, and takes them from Redis in one answer of some 15 MB.</summary>
    public const int MaxItems = 100_000;

    /// <summary>Most units of an item.</summary>
    public const int MaxStock = 2_000_000_000;

    /// <summary>Highest per-user limit, of a sale and of an item.</summary>
    public const int MaxPerUserLimit = 1_000_000;

    /// <summary>Longest time to pay: a week.</summary>
    public const int MaxPayWithinSeconds = 604_800;

    /// <summary>Time to pay when a sale does not say.</summary>
    public const int DefaultPayWithinSeconds = 900;

    /// <summary>Most tickets per second of a sale.</summary>
    public const int MaxAdmissionPerSecond = 1_000_000;

    /// <summary>Highest price in minor units: the amount of 1,000 units is still exact in every JSON reader (2^53).</summary>
    public const long MaxPrice = 1_000_000_000_000;

    /// <summary>Whether a text is a sku.</summary>
    public static bool IsSku(ReadOnlySpan<char> text) => text.Length is >= 1 and <= 64 && !text.ContainsAnyExcept(SkuCharacters);

    /// <summary>Whether a text is a currency: three capitals.</summary>
    public static bool IsCurrency(ReadOnlySpan<char> text) => text.Length == 3 && !text.ContainsAnyExceptInRange('A', 'Z');

    /// <summary>Whether a text is a name: not blank, at most <see cref="MaxName"/> characters, none of them a control character.</summary>
    public static bool IsName(ReadOnlySpan<char> text)
    {
        var length = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            if (System.Text.Rune.IsControl(rune)) return false;
            length++;
        }
        return length <= MaxName && !text.IsWhiteSpace();
    }

    /// <summary>Whether a text may be a sale id: what else comes in a path need not be looked up.</summary>
    public static bool IsSaleId(ReadOnlySpan<char> text) => IsSku(text);

    private static readonly System.Buffers.SearchValues<char> SkuCharacters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
}
