using System.Text.Json;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker.Events;

/// <summary>
/// The exchange that other systems bind their queues to, over a connection of its own. After a failure the object is of
/// no more use, and the caller must open another one.
/// </summary>
public sealed class OrderExchange : IAsyncDisposable
{
    /// <summary>The exchange's name.</summary>
    public const string Name = "flashsale.orders";

    // The limit for one node. It leaves time to try another node within the limit for the broker as a whole.
    private static readonly TimeSpan ConnectPatience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ClosePatience = TimeSpan.FromSeconds(2);

    private readonly IConnection _connection;
    private readonly EventsOptions _options;
    private IChannel? _channel;
    private volatile bool _isBlocked;

    private OrderExchange(IConnection connection, EventsOptions options)
    {
        _connection = connection;
        _options = options;
        connection.ConnectionBlockedAsync += (_, _) => Blocked(true);
        connection.ConnectionUnblockedAsync += (_, _) => Blocked(false);
    }

    private TimeSpan Patience => TimeSpan.FromMilliseconds(_options.ConfirmMilliseconds);

    /// <summary>Connects to the broker and declares the exchange, a durable topic exchange.</summary>
    public static async Task<OrderExchange> OpenAsync(RabbitMqUrl broker, EventsOptions options, CancellationToken cancellation)
    {
        var exchange = new OrderExchange(await broker.ConnectAsync("flashsale-events", ConnectPatience, cancellation), options);
        try
        {
            // The client's own limiter would delay each publish once half of its window is used. PublishAsync keeps its
            // own window instead.
            exchange._channel = await exchange._connection.CreateChannelAsync(
                new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true, outstandingPublisherConfirmationsRateLimiter: null),
                CancellationToken.None).WaitAsync(exchange.Patience, cancellation);
            await exchange._channel.ExchangeDeclareAsync(Name, ExchangeType.Topic, durable: true, cancellationToken: CancellationToken.None).WaitAsync(exchange.Patience, cancellation);
            return exchange;
        }
        catch
        {
            await exchange.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Publishes messages and returns once the broker has confirmed all of them. The broker also confirms messages for
    /// which no queue is bound.
    /// </summary>
    /// <exception cref="TimeoutException">The broker did not confirm in time. Some or all of the messages may have
    /// arrived, or may still arrive.</exception>
    /// <exception cref="PublishException">The broker or a bound queue refused a message.</exception>
    public async Task PublishAsync(IEnumerable<OrderEventMessage> messages, CancellationToken cancellation)
    {
        Queue<Task> unconfirmed = new();
        try
        {
            foreach (var message in messages)
            {
                if (unconfirmed.Count >= _options.Window) await OldestConfirmedAsync(unconfirmed, cancellation);
                var properties = new BasicProperties
                {
                    MessageId = message.EventId, Type = message.Type, ContentType = "application/json", ContentEncoding = "utf-8", Persistent = true,
                };
                // No token: the message of a cancelled publish goes out all the same, so each publish is left to its
                // confirm.
                unconfirmed.Enqueue(_channel!.BasicPublishAsync(Name, message.RoutingKey, mandatory: false, properties,
                    JsonSerializer.SerializeToUtf8Bytes(message, OrderEventJson.Default.OrderEventMessage), CancellationToken.None).AsTask());
            }
            while (unconfirmed.Count > 0) await OldestConfirmedAsync(unconfirmed, cancellation);
        }
        finally
        {
            foreach (var publish in unconfirmed) _ = publish.ContinueWith(static task => task.Exception, TaskScheduler.Default);
        }
    }

    /// <summary>Closes the connection, within 8 s even when the broker does not answer.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _connection.AbortAsync(Constants.ReplySuccess, "done", ClosePatience).WaitAsync(ClosePatience * 2);
            if (_channel is not null) await _channel.DisposeAsync().AsTask().WaitAsync(ClosePatience);
            await _connection.DisposeAsync().AsTask().WaitAsync(ClosePatience);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException or IOException or RabbitMQClientException or ObjectDisposedException)
        {
            // The broker drops the connection when its heartbeats stop.
        }
    }

    private async Task OldestConfirmedAsync(Queue<Task> unconfirmed, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                await unconfirmed.Peek().WaitAsync(Patience, cancellation);
                _ = unconfirmed.Dequeue();
                return;
            }
            catch (TimeoutException) when (_isBlocked && _connection.IsOpen)
            {
                // A broker with an alarm keeps the messages that it was sent, and delivers them after the alarm. If the
                // publisher came again with a new connection, each attempt would leave another copy of them.
            }
        }
    }

    private Task Blocked(bool isBlocked)
    {
        _isBlocked = isBlocked;
        return Task.CompletedTask;
    }
}
