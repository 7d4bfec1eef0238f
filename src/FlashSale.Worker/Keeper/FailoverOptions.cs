using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Keeper;

/// <summary>How the worker prepares for a failover of Postgres. Section <c>Failover</c>.</summary>
public sealed class FailoverOptions
{
    /// <summary>
    /// How long settled reservations are kept in Redis while Postgres has a standby, in seconds. A promoted standby may
    /// lack the commits of that time. The worker takes a standby that lacks more for a restored backup. With 0 no
    /// reservations are kept.
    /// </summary>
    [Range(0, 3_600)]
    public int KeepSettledSeconds { get; set; } = 120;
}
