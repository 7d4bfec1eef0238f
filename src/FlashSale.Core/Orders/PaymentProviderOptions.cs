using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>The address of the payment provider and the key for it. Section <c>Payments</c>.</summary>
public sealed class PaymentProviderOptions
{
    /// <summary>The http or https address above <c>/v1/payments</c> and <c>/v1/refunds</c>.</summary>
    [Required]
    public string BaseUrl { get; set; } = "";

    /// <summary>The API key, sent as bearer token.</summary>
    [Required, Secret]
    public string ApiKey { get; set; } = "";

    /// <summary>Checks the address and returns it with a slash at its end.</summary>
    /// <exception cref="InvalidSettingException">
    /// The address is not an http or https address without user and query.
    /// </exception>
    public Uri Parse() =>
        Uri.TryCreate(BaseUrl.TrimEnd('/') + "/", UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
        && uri.UserInfo.Length + uri.Query.Length + uri.Fragment.Length == 0
            ? uri
            : throw new InvalidSettingException(
                $"Payments:BaseUrl = '{BaseUrl}': allowed is an http or https address, without user and query.");
}
