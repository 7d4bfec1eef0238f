using System.Text.Json.Serialization;

namespace FlashSale.Sales;

/// <summary>Where a sale stands, as stored. Whether a live sale is open is a matter of its window and the clock.</summary>
public enum SaleStatus
{
    /// <summary>Not loaded yet, unknown to shoppers.</summary>
    Draft,

    /// <summary>Loaded: sells between opensAt and closesAt.</summary>
    Live,

    /// <summary>Loaded, and held by a campaign manager.</summary>
    Paused,

    /// <summary>Ended by a campaign manager.</summary>
    Closed,

    /// <summary>Books closed, Redis keys removed.</summary>
    Archived,
}

/// <summary>What a shopper sees of a sale's state.</summary>
public enum SalePhase
{
    /// <summary>Before opensAt.</summary>
    Scheduled,

    /// <summary>Selling.</summary>
    Open,

    /// <summary>Held.</summary>
    Paused,

    /// <summary>Past closesAt, or ended.</summary>
    Closed,
}

/// <summary>A sale as the nodes hold it: immutable, replaced as a whole when a higher version is published.</summary>
/// <param name="SaleId">Text id.</param>
/// <param name="Number">The number inside order ids, 22 bit.</param>
/// <param name="Version">Raised by every change in Postgres.</param>
/// <param name="Epoch">The fence: a script called with another epoch refuses.</param>
/// <param name="Name">For people.</param>
/// <param name="Status">As stored; never <see cref="SaleStatus.Draft"/>.</param>
/// <param name="OpensAt">Unix milliseconds, judged by Redis TIME.</param>
/// <param name="ClosesAt">Unix milliseconds, judged by Redis TIME.</param>
/// <param name="PerUserLimit">Units of one user over all items; null when there is none.</param>
/// <param name="PayWithinSeconds">How long an order may stay unpaid.</param>
/// <param name="RequiresTicket">Whether a purchase needs a ticket.</param>
/// <param name="AdmissionPerSecond">Tickets per second of the whole sale, over all nodes; null when there is no bound.</param>
/// <param name="IsLoadRun">Whether its shoppers are a load generator's: no list and no event tells of it.</param>
/// <param name="Items">What is on sale.</param>
public sealed record PublishedSale(
    string SaleId, int Number, long Version, long Epoch, string Name, SaleStatus Status, long OpensAt, long ClosesAt,
    int? PerUserLimit, int PayWithinSeconds, bool RequiresTicket, int? AdmissionPerSecond, bool IsLoadRun, IReadOnlyList<PublishedItem> Items)
{
    /// <summary>Where the sale stands at a moment of Redis TIME.</summary>
    /// <param name="nowMilliseconds">Unix milliseconds.</param>
    public SalePhase PhaseAt(long nowMilliseconds) => SalePhases.At(Status, OpensAt, ClosesAt, nowMilliseconds);

    /// <summary>When the clock alone ends the phase of a moment, in Unix milliseconds; null where it never does.</summary>
    public long? PhaseEndsAt(long nowMilliseconds) => PhaseAt(nowMilliseconds) switch
    {
        SalePhase.Scheduled => OpensAt,
        SalePhase.Open or SalePhase.Paused => ClosesAt,
        SalePhase.Closed => null,
    };
}

/// <summary>An item as the nodes hold it.</summary>
/// <param name="Number">Number in the sale, from 1; stands for the sku in packed facts.</param>
/// <param name="Sku">1-64 of A-Z a-z 0-9 . _ -</param>
/// <param name="Name">For people.</param>
/// <param name="Price">Of one unit, minor units.</param>
/// <param name="ListPrice">The price it has elsewhere, minor units.</param>
/// <param name="Currency">ISO 4217.</param>
/// <param name="PerUserLimit">Units of this item that one user may buy.</param>
/// <param name="Stock">Units at the time of publishing; only for telling "low" from "available".</param>
public sealed record PublishedItem(int Number, string Sku, string Name, long Price, long? ListPrice, string Currency, int PerUserLimit, int Stock);

/// <summary>Derives the phase of a sale.</summary>
public static class SalePhases
{
    /// <summary>Where a sale stands at a moment.</summary>
    public static SalePhase At(SaleStatus status, long opensAt, long closesAt, long nowMilliseconds) => status switch
    {
        SaleStatus.Closed or SaleStatus.Archived => SalePhase.Closed,
        _ when nowMilliseconds >= closesAt => SalePhase.Closed,
        SaleStatus.Paused => SalePhase.Paused,
        _ => nowMilliseconds < opensAt ? SalePhase.Scheduled : SalePhase.Open,
    };
}

/// <summary>JSON of what is published in Redis.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(PublishedSale))]
public sealed partial class CatalogJson : JsonSerializerContext;
