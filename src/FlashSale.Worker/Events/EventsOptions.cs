using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Events;

/// <summary>How order events are published. Section <c>Events</c>.</summary>
public sealed class EventsOptions
{
    /// <summary>
    /// For how many days published rows are kept, so that operators can look up which events were published, and when.
    /// </summary>
    [Range(1, 3_650)]
    public int KeepDays { get; set; } = 7;

    /// <summary>
    /// The number of events that are published and marked as one batch. A row with more events forms a batch of its
    /// own.
    /// </summary>
    [Range(1, 10_000)]
    public int BatchSize { get; set; } = 1_000;

    /// <summary>The number of messages that may wait for the broker's confirm at once.</summary>
    [Range(1, 1_024)]
    public int Window { get; set; } = 256;

    /// <summary>
    /// How long the broker may take to confirm a message, in milliseconds. Time in which the broker says that it is
    /// blocked does not count.
    /// </summary>
    [Range(100, 120_000)]
    public int ConfirmMilliseconds { get; set; } = 10_000;

    /// <summary>
    /// How long a publisher that no longer responds keeps the other workers from publishing, in milliseconds.
    /// </summary>
    [Range(1_000, 60_000)]
    public int LeaseMilliseconds { get; set; } = 5_000;
}
