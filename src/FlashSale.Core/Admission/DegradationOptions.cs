using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admission;

/// <summary>
/// Settings of automatic degradation. Source: configuration section <c>Degradation</c>. One signal that reaches its
/// limit is enough to raise the level. The level falls again when all signals are below half of their limits.
/// </summary>
public sealed class DegradationOptions
{
    /// <summary>
    /// Highest automatic level while no operator has set one. Up to this level purchases and tickets work as usual.
    /// Lists answer 503, order streams are deferred, pages are older, and clients are asked to poll less often.
    /// </summary>
    public const int DefaultCeiling = 2;

    /// <summary>Highest automatic level until an operator sets one. 0 leaves all levels to operators.</summary>
    [Range(0, SwitchDocument.MaxLevel)]
    public int Ceiling { get; set; } = DefaultCeiling;

    /// <summary>How long pressure must last for each step up, in milliseconds.</summary>
    [Range(200, 60_000)]
    public int RiseMilliseconds { get; set; } = 3_000;

    /// <summary>How long quiet must last for each step down, in milliseconds.</summary>
    [Range(200, 600_000)]
    public int FallMilliseconds { get; set; } = 10_000;

    /// <summary>Limit of the time that work waits for a thread of the pool, in milliseconds.</summary>
    [Range(10, 10_000)]
    public int QueueDelayMilliseconds { get; set; } = 400;

    /// <summary>
    /// Limit of the 99th percentile of reserve.lua's latency as this node measures it, in milliseconds.
    /// </summary>
    [Range(5, 10_000)]
    public int ScriptMilliseconds { get; set; } = 150;

    /// <summary>Limit of the share of reserve.lua calls that fail, in percent.</summary>
    [Range(1, 100)]
    public int RedisErrorPercent { get; set; } = 50;

    /// <summary>Limit of the outbox entries (calls with acceptances) of one sale that wait for the relay.</summary>
    [Range(100, 10_000_000)]
    public int OutboxEntries { get; set; } = 200_000;

    /// <summary>Limit of the age of the oldest waiting outbox entry, in seconds.</summary>
    [Range(1, 3_600)]
    public int OutboxAgeSeconds { get; set; } = 60;

    /// <summary>
    /// Limit of this process' memory, in megabytes. 0 stands for three quarters of the memory that the process may
    /// have.
    /// </summary>
    [Range(0, 1_000_000)]
    public int MemoryMegabytes { get; set; }

    /// <summary>
    /// Share of the users that may still buy while <see cref="Features.PurchasesForAll"/> is off, in percent. They are
    /// always the same users.
    /// </summary>
    [Range(1, 99)]
    public int SharePercent { get; set; } = 25;
}
