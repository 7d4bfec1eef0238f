using System.Text.Json;
using FlashSale.Contracts;
using RabbitMQ.Client;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>A queue beside the consumer's that gets a copy of every message between relay and consumer.</summary>
public sealed class MessageTap : IAsyncDisposable
{
    private readonly IConnection _connection;
    private readonly IChannel _channel;
    private readonly string _queue;
    private readonly List<BasicGetResult> _messages = [];

    private MessageTap(IConnection connection, IChannel channel, string queue)
    {
        _connection = connection;
        _channel = channel;
        _queue = queue;
    }

    public static async Task<MessageTap> OpenAsync(Broker broker)
    {
        var connection = await broker.ConnectAsync();
        var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true));
        var queue = await channel.QueueDeclareAsync();
        await channel.QueueBindAsync(queue.QueueName, Broker.Exchange, routingKey: "");
        return new MessageTap(connection, channel, queue.QueueName);
    }

    /// <summary>The messages that have passed so far.</summary>
    public async Task<IReadOnlyList<BasicGetResult>> MessagesAsync()
    {
        while (await _channel.BasicGetAsync(_queue, autoAck: true) is { } message) _messages.Add(message);
        return _messages;
    }

    /// <summary>Counts the reservations in the messages so far, repeats included.</summary>
    public async Task<int> ReservationsAsync()
    {
        var count = 0;
        foreach (var message in await MessagesAsync())
        {
            using var envelope = JsonDocument.Parse(message.Body);
            foreach (var entry in envelope.RootElement.GetProperty("message").GetProperty("entries").EnumerateArray())
                count += ReservationCodec.Count(entry.GetProperty("records").GetBytesFromBase64());
        }
        return count;
    }

    /// <summary>Publishes an unchanged copy of a message.</summary>
    public async Task PublishAgainAsync(BasicGetResult message) =>
        await _channel.BasicPublishAsync(Broker.Exchange, routingKey: "", mandatory: true, new BasicProperties(message.BasicProperties), message.Body);

    public async ValueTask DisposeAsync()
    {
        await _channel.DisposeAsync();
        await _connection.DisposeAsync();
    }
}
