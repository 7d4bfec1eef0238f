using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admission;

/// <summary>
/// When a node gives up what is not the core, by itself. Section <c>Degradation</c>. Each limit is where its signal
/// alone makes the level rise; below half of it the level falls again.
/// </summary>
public sealed class DegradationOptions
{
    /// <summary>Highest automatic level where no operator has set one: shoppers still see nothing but older pages.</summary>
    public const int DefaultCeiling = 2;

    /// <summary>Highest automatic level until an operator sets one; 0 leaves all to operators.</summary>
    [Range(0, SwitchDocument.MaxLevel)]
    public int Ceiling { get; set; } = DefaultCeiling;

    /// <summary>How long pressure must last for each step up, in milliseconds.</summary>
    [Range(200, 60_000)]
    public int RiseMilliseconds { get; set; } = 3_000;

    /// <summary>How long it must be quiet for each step down, in milliseconds.</summary>
    [Range(200, 600_000)]
    public int FallMilliseconds { get; set; } = 10_000;

    /// <summary>How long work may wait for a thread of the pool, in milliseconds.</summary>
    [Range(10, 10_000)]
    public int QueueDelayMilliseconds { get; set; } = 400;

    /// <summary>The 99th percentile of reserve.lua as this node sees it, in milliseconds.</summary>
    [Range(5, 10_000)]
    public int ScriptMilliseconds { get; set; } = 150;

    /// <summary>Share of calls of reserve.lua that fail, in percent.</summary>
    [Range(1, 100)]
    public int RedisErrorPercent { get; set; } = 50;

    /// <summary>Outbox entries (calls with acceptances) of one sale that wait for the relay.</summary>
    [Range(100, 10_000_000)]
    public int OutboxEntries { get; set; } = 200_000;

    /// <summary>Age of the oldest of them, in seconds.</summary>
    [Range(1, 3_600)]
    public int OutboxAgeSeconds { get; set; } = 60;

    /// <summary>Memory of this process, in megabytes; 0 takes three quarters of what it may have.</summary>
    [Range(0, 1_000_000)]
    public int MemoryMegabytes { get; set; }

    /// <summary>Share of the users who may still buy where purchases are not for all, in percent; always the same users.</summary>
    [Range(1, 99)]
    public int SharePercent { get; set; } = 25;
}
