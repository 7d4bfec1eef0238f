using System.ComponentModel.DataAnnotations;

namespace FlashSale.Worker.Relay;

/// <summary>How outboxes are relayed to the broker. Section <c>Relay</c>.</summary>
public sealed class RelayOptions
{
    /// <summary>
    /// After how long an entry that is published but not settled is published again, in seconds. The wait doubles each
    /// time, up to ten times this value.
    /// </summary>
    [Range(1, 3_600)]
    public int RepublishAfterSeconds { get; set; } = 60;

    /// <summary>The number of reservations in a message. Packs of about a thousand drain fastest.</summary>
    [Range(1, 10_000)]
    public int PackSize { get; set; } = 1_000;

    /// <summary>
    /// How long the relay rests after a pack that was not full, in milliseconds. Under load it then takes larger packs
    /// less often, and leaves the cores to the purchases.
    /// </summary>
    [Range(1, 1_000)]
    public int RestMilliseconds { get; set; } = 100;

    /// <summary>
    /// The most reservations a second that a worker publishes while purchases come in faster than that. The cores are
    /// left to the shoppers then, and the outbox keeps the reservations. When the purchases stop, the outbox drains as
    /// fast as it can.
    /// </summary>
    [Range(1_000, 10_000_000)]
    public int BusyPerSecond { get; set; } = 19_000;

    /// <summary>The number of messages of one sale that may wait for the broker's confirm at once.</summary>
    [Range(1, 256)]
    public int Window { get; set; } = 8;

    /// <summary>
    /// How long the broker may take to confirm a message, in milliseconds. A broker with an alarm confirms nothing.
    /// </summary>
    [Range(100, 120_000)]
    public int ConfirmMilliseconds { get; set; } = 10_000;

    /// <summary>How long a relay owns an outbox without renewing its lease, in milliseconds.</summary>
    [Range(500, 60_000)]
    public int LeaseMilliseconds { get; set; } = 3_000;
}
