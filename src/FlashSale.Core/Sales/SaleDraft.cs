namespace FlashSale.Sales;

/// <summary>
/// The settings that a campaign manager gives for a sale. Every value is within its bounds, see
/// <see cref="SaleBounds"/>.
/// </summary>
/// <param name="Name">The name that people see, 1-200 characters.</param>
/// <param name="OpensAt">Unix milliseconds, before <paramref name="ClosesAt"/>.</param>
/// <param name="ClosesAt">Unix milliseconds.</param>
/// <param name="PerUserLimit">Units that one user may buy over all items. Null without such a limit.</param>
/// <param name="PayWithinSeconds">How long an order may stay unpaid.</param>
/// <param name="RequiresTicket">Whether a purchase needs a ticket.</param>
/// <param name="AdmissionPerSecond">Tickets per second of the whole sale, over all nodes. Null without a bound.</param>
/// <param name="IsLoadRun">
/// Whether the shoppers are a load generator. The shoppers' list and the order events leave such a sale out.
/// </param>
/// <param name="Items">The items on sale. Each sku occurs once.</param>
public sealed record SaleDraft(
    string Name, long OpensAt, long ClosesAt, int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun,
    IReadOnlyList<ItemDraft> Items);

/// <summary>The settings that a campaign manager gives for an item.</summary>
/// <param name="Sku">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Name">The name that people see, 1-200 characters.</param>
/// <param name="Price">The price of one unit, in minor units.</param>
/// <param name="ListPrice">The price of a unit outside of the sale, in minor units of the same currency.</param>
/// <param name="Currency">ISO 4217.</param>
/// <param name="Stock">Units of stock.</param>
/// <param name="PerUserLimit">Units of this item that one user may buy.</param>
public sealed record ItemDraft(string Sku, string Name, long Price, long? ListPrice, string Currency, int Stock, int PerUserLimit);

/// <summary>The bounds of the settings of a sale and its items.</summary>
public static class SaleBounds
{
    /// <summary>Longest name, in characters.</summary>
    public const int MaxName = 200;

    /// <summary>
    /// Most items of a sale. A node holds them all, and reads them from Redis in one answer of about 15 MB.
    /// </summary>
    public const int MaxItems = 100_000;

    /// <summary>Most units of stock of an item.</summary>
    public const int MaxStock = 2_000_000_000;

    /// <summary>Highest per-user limit, of a sale and of an item.</summary>
    public const int MaxPerUserLimit = 1_000_000;

    /// <summary>Longest time to pay, in seconds: a week.</summary>
    public const int MaxPayWithinSeconds = 604_800;

    /// <summary>Time to pay when the draft does not set one, in seconds.</summary>
    public const int DefaultPayWithinSeconds = 900;

    /// <summary>Most tickets per second of a sale.</summary>
    public const int MaxAdmissionPerSecond = 1_000_000;

    /// <summary>
    /// Highest price in minor units. The amount of 1,000 units is still exact in every JSON reader (2^53).
    /// </summary>
    public const long MaxPrice = 1_000_000_000_000;

    /// <summary>Whether a text is a sku: 1-64 of A-Z a-z 0-9 . _ -</summary>
    public static bool IsSku(ReadOnlySpan<char> text) => text.Length is >= 1 and <= 64 && !text.ContainsAnyExcept(SkuCharacters);

    /// <summary>Whether a text has the form of an ISO 4217 code: three capital letters.</summary>
    public static bool IsCurrency(ReadOnlySpan<char> text) => text.Length == 3 && !text.ContainsAnyExceptInRange('A', 'Z');

    /// <summary>
    /// Whether a text is a name: not blank, at most <see cref="MaxName"/> characters, no control characters.
    /// </summary>
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

    /// <summary>Whether a text may be a sale id. Other texts in a path need no look-up.</summary>
    public static bool IsSaleId(ReadOnlySpan<char> text) => IsSku(text);

    private static readonly System.Buffers.SearchValues<char> SkuCharacters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
}
