using System.Text.Json.Serialization;
using FlashSale.Contracts;

namespace FlashSale.Worker.Events;

/// <summary>
/// What other systems are told of an order, as plain JSON: the contract is in the README. Members may be added, never
/// renamed or removed. It holds only what is settled with the event, so that a repeat, whenever it comes, says the same.
/// </summary>
/// <param name="EventId">The same however often the event is published: order id and type.</param>
/// <param name="Type">OrderPlaced, OrderPaid or OrderClosed.</param>
/// <param name="OrderId">Whose.</param>
/// <param name="SaleId">Its sale.</param>
/// <param name="Sku">Its item.</param>
/// <param name="UserId">Who bought.</param>
/// <param name="Quantity">Units.</param>
/// <param name="Amount">Of all units.</param>
/// <param name="At">When it became so, by Postgres.</param>
public sealed record OrderEventMessage(
    string EventId, string Type, Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, EventMoney Amount, string At)
{
    /// <summary>Placed: when the purchase was accepted, Redis TIME.</summary>
    public string? AcceptedAt { get; init; }

    /// <summary>Placed: when it was stored.</summary>
    public string? PlacedAt { get; init; }

    /// <summary>Placed: until when it can be paid.</summary>
    public string? PayBy { get; init; }

    /// <summary>Paid: when.</summary>
    public string? PaidAt { get; init; }

    /// <summary>Closed: cancelled, expired, rejected or refunded.</summary>
    public string? Status { get; init; }

    /// <summary>Closed: why, where a reason was given.</summary>
    public string? Reason { get; init; }

    /// <summary>Where it is published to.</summary>
    [JsonIgnore]
    public string RoutingKey => "order." + Type["Order".Length..].ToLowerInvariant();

    /// <summary>Tells an event of an order.</summary>
    /// <param name="type">placed, paid or closed.</param>
    /// <param name="at">When it became so.</param>
    /// <param name="order">The order, at any time since.</param>
    public static OrderEventMessage Of(string type, DateTime at, OrderFacts order)
    {
        var name = type switch
        {
            "placed" => "OrderPlaced",
            "paid" => "OrderPaid",
            "closed" => "OrderClosed",
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not an order event."),
        };
        var message = new OrderEventMessage($"{order.OrderId}:{name}", name, order.OrderId, order.SaleId, order.Sku, order.UserId, order.Quantity,
            new EventMoney(order.Amount, order.Currency), Text(at)!);
        return type switch
        {
            "placed" => message with { AcceptedAt = Text(order.AcceptedAt), PlacedAt = Text(order.PlacedAt), PayBy = Text(order.PayBy) },
            "paid" => message with { PaidAt = Text(order.PaidAt) },
            _ => message with { Status = order.Status, Reason = order.Reason },
        };
    }

    private static string? Text(DateTime? time) => time is { } at ? Timestamps.Text(new DateTimeOffset(at)) : null;
}

/// <summary>An amount in minor units.</summary>
/// <param name="Amount">Minor units.</param>
/// <param name="Currency">ISO 4217.</param>
public sealed record EventMoney(long Amount, string Currency);

/// <summary>How the messages are written.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(OrderEventMessage))]
internal sealed partial class OrderEventJson : JsonSerializerContext;
