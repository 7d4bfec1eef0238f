using System.Text.Json;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker.Events;

/// <summary>
/// The exchange that other systems bind their queues to, over a connection of its own. Usable until something fails;
/// then another one must be opened.
/// </summary>
public sealed class OrderExchange : IAsyncDisposable
{
    /// <summary>The exchange's name.</summary>
    public const string Name = "flashsale.orders";

    // Of one node: another one must be tried within the time that the broker is given as a whole.
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

    /// <summary>Connects, and makes the exchange if it is not there.</summary>
    public static async Task<OrderExchange> OpenAsync(RabbitMqUrl broker, EventsOptions options, CancellationToken cancellation)
    {
        var exchange = new OrderExchange(await broker.ConnectAsync("flashsale-events", ConnectPatience, cancellation), options);
        try
        {
            // The client's own limiter delays each publish from the half of its window on; the window here is ours.
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

    /// <summary>Publishes messages and returns once the broker has confirmed all of them. Whether anybody is bound does not matter.</summary>
    /// <exception cref="TimeoutException">The broker did not confirm in time. Any number of the messages may have arrived, or arrive yet.</exception>
    /// <exception cref="PublishException">The broker, or a queue that is bound, refused one.</exception>
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
                // No token: a publish that is cancelled goes out all the same, so its confirm is waited for.
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

    /// <summary>Leaves the broker, in a bounded time.</summary>
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
            // It ends with its heartbeat.
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
                // A broker with an alarm keeps what it was sent for as long as it lasts and delivers it after. To come again
                // with a new connection would leave as many copies as there were attempts.
            }
        }
    }

    private Task Blocked(bool isBlocked)
    {
        _isBlocked = isBlocked;
        return Task.CompletedTask;
    }
}
