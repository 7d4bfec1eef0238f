using System.Text.Json.Serialization;

namespace FlashSale.Orders;

internal sealed record AmountForm(long Amount, string Currency);

internal sealed record PaymentForm(Guid OrderId, AmountForm Amount, string PayBy);

internal sealed record PaymentAnswer(string? Status, AmountAnswer? Amount);

internal sealed record AmountAnswer(long Amount, string? Currency);

internal sealed record RefundForm(string PaymentId, Guid OrderId, string Reason);

internal sealed record RefundAnswer(string? Status);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(PaymentForm))]
[JsonSerializable(typeof(CreatedPayment))]
[JsonSerializable(typeof(PaymentAnswer))]
[JsonSerializable(typeof(RefundForm))]
[JsonSerializable(typeof(RefundAnswer))]
internal sealed partial class ProviderJson : JsonSerializerContext;
