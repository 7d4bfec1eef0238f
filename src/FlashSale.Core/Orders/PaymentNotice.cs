using System.Text.Json;
using FlashSale.Contracts;
using FlashSale.Platform;

namespace FlashSale.Orders;

/// <summary>The kinds of webhook that a provider sends.</summary>
public enum PaymentNoticeType
{
    /// <summary>Any other type. The notice is recorded, and nothing follows from it.</summary>
    Other,

    /// <summary><c>payment.succeeded</c>: the shopper has paid.</summary>
    Succeeded,

    /// <summary><c>payment.failed</c>: an attempt to pay has failed.</summary>
    Failed,

    /// <summary><c>payment.refunded</c>: the provider gave the money back.</summary>
    Refunded,
}

/// <summary>The content of a webhook's body.</summary>
/// <param name="WebhookId">The provider's id of the message. It is the same for every delivery of it.</param>
/// <param name="Type">The kind of notice.</param>
/// <param name="TypeText">The type as the provider spells it.</param>
/// <param name="OrderId">The order; empty for <see cref="PaymentNoticeType.Other"/>.</param>
/// <param name="PaymentId">The provider's id of the payment; empty for <see cref="PaymentNoticeType.Other"/>.</param>
/// <param name="Amount">Minor units of <paramref name="Currency"/>.</param>
/// <param name="Currency">ISO 4217 code.</param>
/// <param name="At">The <c>timestamp</c> of the notice. Null when it is missing or unreadable.</param>
public sealed record PaymentNotice(
    string WebhookId, PaymentNoticeType Type, string TypeText, Guid OrderId, string PaymentId, long Amount, string Currency, DateTimeOffset? At = null)
{
    private const int MaxTypeLength = 128;

    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 32, AllowDuplicateProperties = false };

    /// <summary>
    /// Reads a body: <c>{"type","timestamp"?,"data":{"orderId","paymentId","amount":{"amount","currency"}}}</c>.
    /// Unknown members are ignored, unlike in the requests of shoppers and managers, because a provider adds members
    /// without asking. A byte order mark is ignored too, and an amount may be written with a fraction of zeros.
    /// </summary>
    /// <returns>The notice. Null when the body is wrong, and then <paramref name="error"/> says why.</returns>
    public static PaymentNotice? Read(string webhookId, ReadOnlyMemory<byte> body, out ProblemError error)
    {
        error = default;
        try
        {
            using var document = JsonDocument.Parse(Utf8Text.WithoutMark(body), Strict);
            return Read(webhookId, document.RootElement, out error);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // JsonDocument throws InvalidOperationException when it reads a text that is not Unicode.
            error = new("body", "must be a JSON object whose texts are Unicode");
            return null;
        }
    }

    private static PaymentNotice? Read(string webhookId, JsonElement root, out ProblemError error)
    {
        error = default;
        if (root.ValueKind is not JsonValueKind.Object)
        {
            error = new("body", "must be a JSON object");
            return null;
        }
        if (Text(root, "type") is not { Length: > 0 and <= MaxTypeLength } text || text.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            error = new("type", $"must be 1 to {MaxTypeLength} visible ASCII characters");
            return null;
        }
        var type = text switch
        {
            "payment.succeeded" => PaymentNoticeType.Succeeded,
            "payment.failed" => PaymentNoticeType.Failed,
            "payment.refunded" => PaymentNoticeType.Refunded,
            _ => PaymentNoticeType.Other,
        };
        if (type is PaymentNoticeType.Other) return new(webhookId, type, text, Guid.Empty, "", 0, "");
        return ReadData(webhookId, type, text, root, out error);
    }

    private static PaymentNotice? ReadData(string webhookId, PaymentNoticeType type, string text, JsonElement root, out ProblemError error)
    {
        error = default;
        if (!root.TryGetProperty("data", out var data) || data.ValueKind is not JsonValueKind.Object) error = new("data", "must be an object");
        else if (!Guid.TryParseExact(Text(data, "orderId"), "D", out var orderId)) error = new("data.orderId", "must be a UUID");
        else if (Text(data, "paymentId") is not { } paymentId || !PaymentProvider.IsPaymentId(paymentId)) error = new("data.paymentId", "must be 1 to 128 visible ASCII characters");
        else if (!data.TryGetProperty("amount", out var money) || money.ValueKind is not JsonValueKind.Object) error = new("data.amount", "must be an object");
        else if (!money.TryGetProperty("amount", out var minor) || !TryReadWhole(minor, out var amount))
            error = new("data.amount.amount", "must be an integer of minor units, 0 or more");
        else if (Text(money, "currency") is not { Length: 3 } currency || currency.AsSpan().ContainsAnyExceptInRange('A', 'Z')) error = new("data.amount.currency", "must be three capital letters");
        else return new(webhookId, type, text, orderId, paymentId, amount, currency, TimeOf(root));
        return null;
    }

    // Some providers' serializers write every number as a floating-point one: 9900.0 or 9.9e3.
    private static bool TryReadWhole(JsonElement json, out long number)
    {
        number = 0;
        if (json.ValueKind is not JsonValueKind.Number) return false;
        if (json.TryGetInt64(out number)) return number >= 0;
        if (!json.TryGetDecimal(out var value) || value < 0 || value > long.MaxValue || value != decimal.Truncate(value)) return false;
        number = (long)value;
        return true;
    }

    private static DateTimeOffset? TimeOf(JsonElement root) =>
        Text(root, "timestamp") is { } text && Timestamps.TryRead(text, out var milliseconds) ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : null;

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.String ? value.GetString() : null;
}
