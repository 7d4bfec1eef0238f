using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Configuration;

namespace FlashSale.Platform;

/// <summary>
/// Limits of a host's calls to one dependency: time, retries, breaker and number at once. Section
/// <c>Dependencies:{name}</c>. The settings may change while the host runs.
/// </summary>
public sealed record DependencyOptions
{
    /// <summary>How long one attempt may take, in milliseconds.</summary>
    [Range(50, 120_000)]
    public int TimeoutMilliseconds { get; set; } = 5_000;

    /// <summary>How often a call that may be repeated is tried again.</summary>
    [Range(0, 10)]
    public int Retries { get; set; }

    /// <summary>Wait before the first retry, in milliseconds. It doubles with each retry, and has jitter.</summary>
    [Range(10, 10_000)]
    public int RetryMilliseconds { get; set; } = 50;

    /// <summary>
    /// The breaker opens when at least this share of the calls within the sampling time fails, in percent.
    /// </summary>
    [Range(1, 100)]
    public int FailurePercent { get; set; } = 50;

    /// <summary>Fewest calls within the sampling time before the breaker may open.</summary>
    [Range(2, 10_000)]
    public int MinCalls { get; set; } = 4;

    /// <summary>The sampling time, in seconds.</summary>
    [Range(1, 600)]
    public int SamplingSeconds { get; set; } = 5;

    /// <summary>How long the open breaker refuses calls before it lets one call try, in milliseconds.</summary>
    [Range(500, 60_000)]
    public int BreakMilliseconds { get; set; } = 1_000;

    /// <summary>Most calls under way at once. For Postgres the size of the pool is the limit if that is less.</summary>
    [Range(1, 10_000)]
    public int MaxConcurrent { get; set; } = 10_000;

    /// <summary>How long a call beyond that limit waits for another call to end, in milliseconds.</summary>
    [Range(0, 10_000)]
    public int WaitMilliseconds { get; set; } = 500;

    /// <summary>Longest time that a call with all its retries may take.</summary>
    public TimeSpan Longest => TimeSpan.FromMilliseconds(WaitMilliseconds + (Retries + 1L) * TimeoutMilliseconds + RetryMilliseconds * (2L << Retries));

    /// <summary>Reads and checks a section on top of the defaults.</summary>
    /// <exception cref="InvalidSettingException">A value cannot be read or lies outside its range.</exception>
    public static DependencyOptions Read(IConfiguration configuration, string name, DependencyOptions defaults) =>
        Settings.Read($"{Dependency.Section}:{name}", configuration, defaults with { });
}
