using System.Text.Json.Serialization;
using FlashSale.Contracts;

namespace FlashSale.Worker.Events;

/// <summary>
/// A message to other systems about an order, as plain JSON. Its contract is in docs/events.md: members may be added,
/// never renamed or removed. It holds only facts that are final when the event happens, so that a repeat, however late,
/// says the same.
/// </summary>
/// <param name="EventId">Order id and type, so that all copies of an event have the same id.</param>
/// <param name="Type">OrderPlaced, OrderPaid or OrderClosed.</param>
/// <param name="OrderId">The order.</param>
/// <param name="SaleId">Its sale.</param>
/// <param name="Sku">Its item.</param>
/// <param name="UserId">The buyer.</param>
/// <param name="Quantity">Units.</param>
/// <param name="Amount">The price of all units together.</param>
/// <param name="At">When the event happened, by the clock of Postgres: UTC, ISO 8601 with milliseconds.</param>
public sealed record OrderEventMessage(
    string EventId, string Type, Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, EventMoney Amount, string At)
{
    /// <summary>OrderPlaced only: when Redis accepted the purchase, by Redis TIME.</summary>
    public string? AcceptedAt { get; init; }

    /// <summary>OrderPlaced only: when Postgres stored the order.</summary>
    public string? PlacedAt { get; init; }

    /// <summary>OrderPlaced only: the last moment at which the order can be paid.</summary>
    public string? PayBy { get; init; }

    /// <summary>OrderPaid only: when the order was paid.</summary>
    public string? PaidAt { get; init; }

    /// <summary>OrderClosed only: cancelled, expired, rejected or refunded.</summary>
    public string? Status { get; init; }

    /// <summary>OrderClosed only: the reason, where one was given.</summary>
    public string? Reason { get; init; }

    /// <summary>The routing key: order.placed, order.paid or order.closed.</summary>
    [JsonIgnore]
    public string RoutingKey => "order." + Type["Order".Length..].ToLowerInvariant();

    /// <summary>Makes the message for an event of an order.</summary>
    /// <param name="type">placed, paid or closed.</param>
    /// <param name="at">When the event happened.</param>
    /// <param name="order">The order as it is now, at any time after the event.</param>
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
/// <param name="Amount">The amount, in the currency's minor units.</param>
/// <param name="Currency">The ISO 4217 code of the currency.</param>
public sealed record EventMoney(long Amount, string Currency);

/// <summary>Writes the messages as JSON: names in camel case, members without a value left out.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(OrderEventMessage))]
internal sealed partial class OrderEventJson : JsonSerializerContext;
