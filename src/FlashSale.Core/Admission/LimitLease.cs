using System.Threading.RateLimiting;

namespace FlashSale.Admission;

/// <summary>What the limits say about a request.</summary>
public sealed class LimitLease : RateLimitLease
{
    /// <summary>No rule counts the request.</summary>
    public static readonly LimitLease Unlimited = new(null, 0, 0);

    internal LimitLease(LimitHeaders? headers, long left, long waitMilliseconds)
    {
        if (headers is null) return;
        Policy = headers.Policy;
        IsRefused = waitMilliseconds > 0;
        RetryAfterSeconds = (int)Math.Min(int.MaxValue, (waitMilliseconds + 999) / 1_000);
        State = headers.State(left, IsRefused ? RetryAfterSeconds : null);
    }

    /// <summary>Whether the request must not go on.</summary>
    public bool IsRefused { get; }

    /// <inheritdoc />
    public override bool IsAcquired => !IsRefused;

    /// <summary>When the request would pass, seconds, rounded up.</summary>
    public int RetryAfterSeconds { get; }

    /// <summary>RateLimit-Policy of the rule that leaves the least; null where no rule counts.</summary>
    public string? Policy { get; }

    /// <summary>RateLimit of that rule.</summary>
    public string? State { get; }

    /// <inheritdoc />
    public override IEnumerable<string> MetadataNames => IsRefused ? [MetadataName.RetryAfter.Name] : [];

    /// <inheritdoc />
    public override bool TryGetMetadata(string metadataName, out object? metadata)
    {
        metadata = IsRefused && metadataName == MetadataName.RetryAfter.Name ? TimeSpan.FromSeconds(RetryAfterSeconds) : null;
        return metadata is not null;
    }
}

/// <summary>
/// The header fields of a rule (draft-ietf-httpapi-ratelimit-headers-10): q tokens in w seconds, of which r are left,
/// and all are there again in t seconds. Made once for each number of tokens left, since every answer carries one.
/// </summary>
internal sealed class LimitHeaders(LimitRule rule)
{
    private const int MaxKept = 1_024;

    private readonly LimitLease?[] _leases = new LimitLease?[Math.Min(rule.Capacity, MaxKept) + 1];

    public string Policy { get; } = $"\"{rule.Name}\";q={rule.Capacity};w={Seconds(rule.Capacity / rule.RefillPerSecond)}";

    public string State(long left, int? wait) => $"\"{rule.Name}\";r={left};t={wait ?? Seconds((rule.Capacity - left) / rule.RefillPerSecond)}";

    public LimitLease Taken(double left)
    {
        var whole = (long)left;
        if (whole >= _leases.Length) return new LimitLease(this, whole, 0);
        return _leases[whole] ??= new LimitLease(this, whole, 0);
    }

    private static long Seconds(double seconds) => (long)Math.Ceiling(seconds);
}
