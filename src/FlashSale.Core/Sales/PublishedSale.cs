using System.Text.Json.Serialization;

namespace FlashSale.Sales;

/// <summary>
/// The stored status of a sale. Whether a live sale is open also depends on its window and the clock, see
/// <see cref="SalePhase"/>.
/// </summary>
public enum SaleStatus
{
    /// <summary>Not loaded yet. Shoppers cannot see it.</summary>
    Draft,

    /// <summary>Loaded. It sells between opensAt and closesAt.</summary>
    Live,

    /// <summary>Loaded, and paused by a campaign manager.</summary>
    Paused,

    /// <summary>Closed for good by a campaign manager.</summary>
    Closed,

    /// <summary>The books are closed, and the Redis keys are removed.</summary>
    Archived,
}

/// <summary>The state of a sale at a moment, as shoppers see it.</summary>
public enum SalePhase
{
    /// <summary>Loaded, before opensAt.</summary>
    Scheduled,

    /// <summary>Selling: between opensAt and closesAt.</summary>
    Open,

    /// <summary>Paused by a campaign manager, before closesAt.</summary>
    Paused,

    /// <summary>Past closesAt, or closed by a campaign manager.</summary>
    Closed,
}

/// <summary>
/// A sale in the form that nodes hold. It is immutable, and a higher published version replaces all of it.
/// </summary>
/// <param name="SaleId">The sale id, such as <c>s12</c>.</param>
/// <param name="Number">The number inside order ids, 22 bits.</param>
/// <param name="Version">The version in Postgres. Every change raises it.</param>
/// <param name="Epoch">The fencing number of the latest load. Scripts refuse calls with another epoch.</param>
/// <param name="Name">The name that people see.</param>
/// <param name="Status">The stored status, never <see cref="SaleStatus.Draft"/>.</param>
/// <param name="OpensAt">Unix milliseconds, judged by Redis TIME.</param>
/// <param name="ClosesAt">Unix milliseconds, judged by Redis TIME.</param>
/// <param name="PerUserLimit">Units that one user may buy over all items. Null without such a limit.</param>
/// <param name="PayWithinSeconds">How long an order may stay unpaid.</param>
/// <param name="RequiresTicket">Whether a purchase needs a ticket.</param>
/// <param name="AdmissionPerSecond">Tickets per second of the whole sale, over all nodes. Null without a bound.</param>
/// <param name="IsLoadRun">
/// Whether the shoppers are a load generator. The shoppers' list and the order events leave such a sale out.
/// </param>
/// <param name="Items">The items on sale, by rising number.</param>
public sealed record PublishedSale(
    string SaleId, int Number, long Version, long Epoch, string Name, SaleStatus Status, long OpensAt, long ClosesAt,
    int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun, IReadOnlyList<PublishedItem> Items)
{
    /// <summary>The phase of the sale at a moment of Redis TIME.</summary>
    /// <param name="nowMilliseconds">Unix milliseconds.</param>
    public SalePhase PhaseAt(long nowMilliseconds) => SalePhases.At(Status, OpensAt, ClosesAt, nowMilliseconds);

    /// <summary>
    /// The time at which the phase of a moment ends by the clock alone, Unix milliseconds. Null when it never does.
    /// </summary>
    public long? PhaseEndsAt(long nowMilliseconds) => PhaseAt(nowMilliseconds) switch
    {
        SalePhase.Scheduled => OpensAt,
        SalePhase.Open or SalePhase.Paused => ClosesAt,
        SalePhase.Closed => null,
    };
}

/// <summary>An item in the form that nodes hold.</summary>
/// <param name="Number">The item's number in the sale, from 1. It stands for the sku in packed facts.</param>
/// <param name="Sku">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Name">The name that people see.</param>
/// <param name="Price">The price of one unit, in minor units.</param>
/// <param name="ListPrice">The price of a unit outside of the sale, in minor units.</param>
/// <param name="Currency">ISO 4217.</param>
/// <param name="PerUserLimit">Units of this item that one user may buy.</param>
/// <param name="Stock">Units of stock at the time of publishing. Used only to tell "low" from "available".</param>
public sealed record PublishedItem(int Number, string Sku, string Name, long Price, long? ListPrice, string Currency, int PerUserLimit, int Stock);

/// <summary>Derives the phase of a sale from its status, its window and a time.</summary>
public static class SalePhases
{
    /// <summary>The phase at a moment. All times are Unix milliseconds.</summary>
    public static SalePhase At(SaleStatus status, long opensAt, long closesAt, long nowMilliseconds) => status switch
    {
        SaleStatus.Closed or SaleStatus.Archived => SalePhase.Closed,
        _ when nowMilliseconds >= closesAt => SalePhase.Closed,
        SaleStatus.Paused => SalePhase.Paused,
        _ => nowMilliseconds < opensAt ? SalePhase.Scheduled : SalePhase.Open,
    };
}

/// <summary>The JSON form of the sales that are published in Redis.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(PublishedSale))]
public sealed partial class CatalogJson : JsonSerializerContext;
