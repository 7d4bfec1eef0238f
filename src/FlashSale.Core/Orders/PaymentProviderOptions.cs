using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>Where the payment provider is. Section <c>Payments</c>.</summary>
public sealed class PaymentProviderOptions
{
    /// <summary>What <c>/v1/payments</c> and <c>/v1/refunds</c> are below: an http or https address.</summary>
    [Required]
    public string BaseUrl { get; set; } = "";

    /// <summary>Sent as bearer token.</summary>
    [Required, Secret]
    public string ApiKey { get; set; } = "";

    /// <summary>Checks the address.</summary>
    /// <exception cref="InvalidSettingException">It is none.</exception>
    public Uri Parse() =>
        Uri.TryCreate(BaseUrl.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
        && uri.UserInfo.Length + uri.Query.Length + uri.Fragment.Length == 0
            ? uri
            : throw new InvalidSettingException(
                $"Payments:BaseUrl = '{BaseUrl}': allowed is an http or https address, without user and query.");
}
