using System.Text.Json;
using FlashSale.IntegrationTests.Infrastructure;
using RabbitMQ.Client;

namespace FlashSale.IntegrationTests.Events;

/// <summary>A message as a subscriber gets it.</summary>
public sealed record ToldEvent(string? MessageId, string? Type, string RoutingKey, string? ContentType, bool IsPersistent, JsonElement Body)
{
    public Guid OrderId => Body.GetProperty("orderId").GetGuid();
}

/// <summary>
/// Plays another system with a durable queue on the exchange of order events. Tests open it before anything is
/// published, and read it later.
/// </summary>
public sealed class EventTap
{
    public const string Exchange = "flashsale.orders";

    private readonly Broker _broker;
    private readonly string _queue = $"warehouse-{Guid.NewGuid():N}";
    private readonly List<ToldEvent> _told = [];

    private EventTap(Broker broker) => _broker = broker;

    public static async Task<EventTap> OpenAsync(Broker broker)
    {
        var tap = new EventTap(broker);
        await using var connection = await broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        await channel.ExchangeDeclareAsync(Exchange, ExchangeType.Topic, durable: true);
        await channel.QueueDeclareAsync(tap._queue, durable: true, exclusive: false, autoDelete: false);
        await channel.QueueBindAsync(tap._queue, Exchange, "order.*");
        return tap;
    }

    /// <summary>Counts the messages that have not been read yet.</summary>
    public async Task<int> WaitingAsync()
    {
        await using var connection = await _broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        return (int)(await channel.QueueDeclarePassiveAsync(_queue)).MessageCount;
    }

    /// <summary>Waits until this many more messages are waiting than before.</summary>
    public async Task MoreAsync(int more, int seconds = 40)
    {
        await using var connection = await _broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        var goal = (await channel.QueueDeclarePassiveAsync(_queue)).MessageCount + more;
        await Eventually.TrueAsync($"{more} more events arrive", TimeSpan.FromSeconds(seconds), async () => (await channel.QueueDeclarePassiveAsync(_queue)).MessageCount >= goal);
    }

    /// <summary>Reads all messages so far, in the order of their arrival.</summary>
    public async Task<IReadOnlyList<ToldEvent>> ReadAsync()
    {
        await using var connection = await _broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        while (await channel.BasicGetAsync(_queue, autoAck: true) is { } message)
        {
            var properties = message.BasicProperties;
            using var body = JsonDocument.Parse(message.Body);
            _told.Add(new ToldEvent(properties.MessageId, properties.Type, message.RoutingKey, properties.ContentType, properties.Persistent, body.RootElement.Clone()));
        }
        return _told;
    }

    /// <summary>Deletes the queue, so that the broker keeps no copies for nobody.</summary>
    public async Task CloseAsync()
    {
        await using var connection = await _broker.ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        await channel.QueueDeleteAsync(_queue);
    }
}
