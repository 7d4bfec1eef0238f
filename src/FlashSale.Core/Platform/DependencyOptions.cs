using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Configuration;

namespace FlashSale.Platform;

/// <summary>How long, how often and how much a host asks of one dependency. Section <c>Dependencies:{name}</c>; may change while the host runs.</summary>
public sealed record DependencyOptions
{
    /// <summary>How long one attempt may take, in milliseconds.</summary>
    [Range(50, 120_000)]
    public int TimeoutMilliseconds { get; set; } = 5_000;

    /// <summary>How often a call that may be repeated is tried again.</summary>
    [Range(0, 10)]
    public int Retries { get; set; }

    /// <summary>Before the first retry, in milliseconds; doubles with each, with jitter.</summary>
    [Range(10, 10_000)]
    public int RetryMilliseconds { get; set; } = 50;

    /// <summary>The breaker opens when at least this share of the calls within the sampling time fails, in percent.</summary>
    [Range(1, 100)]
    public int FailurePercent { get; set; } = 50;

    /// <summary>Fewest calls within the sampling time for the breaker to judge by.</summary>
    [Range(2, 10_000)]
    public int MinCalls { get; set; } = 4;

    /// <summary>The sampling time, in seconds.</summary>
    [Range(1, 600)]
    public int SamplingSeconds { get; set; } = 5;

    /// <summary>How long the open breaker refuses before one call may try, in milliseconds.</summary>
    [Range(500, 60_000)]
    public int BreakMilliseconds { get; set; } = 1_000;

    /// <summary>Most calls under way at once. For Postgres the pool's size is the limit where it is less.</summary>
    [Range(1, 10_000)]
    public int MaxConcurrent { get; set; } = 10_000;

    /// <summary>How long a call beyond that waits for another one to end, in milliseconds.</summary>
    [Range(0, 10_000)]
    public int WaitMilliseconds { get; set; } = 500;

    /// <summary>Longest that a call with its retries may take.</summary>
    public TimeSpan Longest => TimeSpan.FromMilliseconds(WaitMilliseconds + (Retries + 1L) * TimeoutMilliseconds + RetryMilliseconds * (2L << Retries));

    /// <summary>Reads and checks a section on top of the defaults.</summary>
    /// <exception cref="InvalidSettingException">A value cannot be read or lies outside its range.</exception>
    public static DependencyOptions Read(IConfiguration configuration, string name, DependencyOptions defaults) =>
        Settings.Read($"{Dependency.Section}:{name}", configuration, defaults with { });
}
