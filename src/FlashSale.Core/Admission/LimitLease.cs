using System.Threading.RateLimiting;

namespace FlashSale.Admission;

/// <summary>The decision of the rate limits about a request.</summary>
public sealed class LimitLease : RateLimitLease
{
    /// <summary>The lease of a request that no rule counts.</summary>
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

    /// <summary>Seconds until the request would pass, rounded up. 0 for a request that may go on.</summary>
    public int RetryAfterSeconds { get; }

    /// <summary>
    /// The <c>RateLimit-Policy</c> field of the rule with the least left. Null when no rule counts the request.
    /// </summary>
    public string? Policy { get; }

    /// <summary>The <c>RateLimit</c> field of that rule.</summary>
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
/// The header fields of a rule (draft-ietf-httpapi-ratelimit-headers-10): q tokens in w seconds. Of them r are left,
/// and all are back in t seconds. Every answer carries these fields, so a lease is made once for each number of tokens
/// left, up to 1,024.
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
