using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>Section <c>Failover</c>.</summary>
public sealed class FailoverOptions
{
    /// <summary>
    /// How long settled reservations are kept in Redis while Postgres has a standby, in seconds. A promoted standby may lack the commits of that
    /// time; one that lacks more is taken for a restored backup. 0 keeps none.
    /// </summary>
    [Range(0, 3_600)]
    public int KeepSettledSeconds { get; set; } = 120;
}
