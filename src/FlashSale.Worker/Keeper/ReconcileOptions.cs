using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>Section <c>Reconcile</c>.</summary>
public sealed class ReconcileOptions
{
    /// <summary>How often the books of every sale are compared, in seconds; those of one that has ended more seldom, as long as they balance.</summary>
    [Range(1, 3_600)]
    public int IntervalSeconds { get; set; } = 10;

    /// <summary>Whether a difference that stands is repaired, by a rebuild of the sale from Postgres; else it is only told.</summary>
    public bool Repair { get; set; }

    /// <summary>How long the keys of a sale stay in Redis after its end, in minutes: until then a retry gets its answer. A week unless set.</summary>
    [Range(0, 1_000_000)]
    public int ArchiveAfterMinutes { get; set; } = 7 * 24 * 60;
}
