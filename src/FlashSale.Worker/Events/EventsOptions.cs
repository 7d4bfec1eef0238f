using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Events;

/// <summary>Section <c>Events</c>.</summary>
public sealed class EventsOptions
{
    /// <summary>How long rows are kept after they were published, in days: for whoever asks what was told, and when.</summary>
    [Range(1, 3_650)]
    public int KeepDays { get; set; } = 7;

    /// <summary>Events that are published and marked together. A row of more than this goes alone.</summary>
    [Range(1, 10_000)]
    public int BatchSize { get; set; } = 1_000;

    /// <summary>Messages that may wait for the broker's confirm at once.</summary>
    [Range(1, 1_024)]
    public int Window { get; set; } = 256;

    /// <summary>How long the broker may take to confirm, in milliseconds. Time in which it says that it is blocked does not count.</summary>
    [Range(100, 120_000)]
    public int ConfirmMilliseconds { get; set; } = 10_000;

    /// <summary>How long a publisher that has stopped to answer keeps the others waiting, in milliseconds.</summary>
    [Range(1_000, 60_000)]
    public int LeaseMilliseconds { get; set; } = 5_000;
}
