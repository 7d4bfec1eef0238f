using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>Where the payment provider is and how long to wait for it. Section <c>Payments</c>.</summary>
public sealed class PaymentProviderOptions
{
    /// <summary>What <c>/v1/payments</c> and <c>/v1/refunds</c> are below: an http or https address.</summary>
    [Required]
    public string BaseUrl { get; set; } = "";

    /// <summary>Sent as bearer token.</summary>
    [Required, Secret]
    public string ApiKey { get; set; } = "";

    /// <summary>How long one attempt may take, in milliseconds.</summary>
    [Range(100, 30_000)]
    public int TimeoutMilliseconds { get; set; } = 3_000;

    /// <summary>How often a call is tried again, with the same idempotency key.</summary>
    [Range(0, 10)]
    public int Retries { get; set; } = 2;

    /// <summary>Before the first retry, in milliseconds; doubles with each, with jitter.</summary>
    [Range(10, 10_000)]
    public int RetryMilliseconds { get; set; } = 200;

    /// <summary>How long the breaker refuses after half of the calls failed, in milliseconds.</summary>
    [Range(500, 60_000)]
    public int BreakMilliseconds { get; set; } = 5_000;

    /// <summary>Longest that a call with all its retries may take.</summary>
    public TimeSpan Longest => TimeSpan.FromMilliseconds((Retries + 1L) * TimeoutMilliseconds + RetryMilliseconds * (2L << Retries));

    /// <summary>Checks the address.</summary>
    /// <exception cref="InvalidSettingException">It is none.</exception>
    public Uri Parse() =>
        Uri.TryCreate(BaseUrl.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" && uri.UserInfo.Length == 0
            ? uri
            : throw new InvalidSettingException($"Payments:BaseUrl = '{BaseUrl}': allowed is an http or https address.");
}
