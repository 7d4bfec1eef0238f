using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// When the books of sales are compared and repaired, and when sales are archived. Section <c>Reconcile</c>.
/// </summary>
public sealed class ReconcileOptions
{
    /// <summary>
    /// How often the books of every sale are compared, in seconds. The books of an ended sale are compared every 10
    /// minutes, as long as they balance.
    /// </summary>
    [Range(1, 3_600)]
    public int IntervalSeconds { get; set; } = 10;

    /// <summary>
    /// Whether a difference that stands is repaired, by a rebuild of the sale from Postgres. Otherwise it is only
    /// reported.
    /// </summary>
    public bool Repair { get; set; }

    /// <summary>
    /// How long the keys of a sale stay in Redis after its end, in minutes. Until then a retry gets its answer. The
    /// default is a week.
    /// </summary>
    [Range(0, 1_000_000)]
    public int ArchiveAfterMinutes { get; set; } = 7 * 24 * 60;
}
