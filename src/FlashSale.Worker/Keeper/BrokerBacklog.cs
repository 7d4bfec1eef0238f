using FlashSale.Platform;
using FlashSale.Worker.Consumer;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Asks the broker, over connections of its own, whether packs wait in the queue of reservations, whether any worker
/// consumes the queue, and whether the broker confirms messages.
/// </summary>
public sealed class BrokerBacklog(RabbitMqUrl url, [FromKeyedServices(Dependency.RabbitMq)] Dependency broker)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);

    // One hanging node must leave time to ask another node in the same look.
    private static readonly TimeSpan LongestOfOneNode = TimeSpan.FromSeconds(2);

    // The relay asks while it holds its lease, and must not lose it meanwhile.
    private static readonly TimeSpan LongestOfRelay = TimeSpan.FromSeconds(1);

    // The count of the broker lacks packs that it has just handed to a consumer. After several empty looks in a row
    // they have reached Postgres.
    private const int LooksInARow = 4;

    /// <summary>
    /// Waits until the queue has drained. It gives up when the broker is away or the wait takes too long: Postgres
    /// judges orders that come later, so nothing is oversold either way.
    /// </summary>
    /// <param name="longest">The longest wait.</param>
    /// <param name="cancellation">Ends the wait with an exception.</param>
    /// <returns>True when the queue has drained. False when that could not be found out.</returns>
    public async Task<bool> DrainedAsync(TimeSpan longest, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(longest);
        try
        {
            await using var connection = await ConnectAsync(patience.Token);
            await using var channel = await connection.CreateChannelAsync(cancellationToken: patience.Token);
            for (var empty = 0; empty < LooksInARow; await Task.Delay(Interval, patience.Token))
                empty = await channel.MessageCountAsync(ReservationPackConsumerDefinition.Queue, patience.Token) == 0 ? empty + 1 : 0;
            return true;
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested
            && e is OperationCanceledException or BrokerUnreachableException or OperationInterruptedException or AlreadyClosedException or IOException or DependencyRejectedException or DependencyTimeoutException)
        {
            return false;
        }
    }

    /// <summary>
    /// Whether packs wait in the queue for a consumer. False when the broker does not tell within 1 s.
    /// </summary>
    public async Task<bool> HoldsPacksAsync(CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(LongestOfRelay);
        try
        {
            await using var connection = await ConnectAsync(patience.Token);
            await using var channel = await connection.CreateChannelAsync(cancellationToken: patience.Token);
            return await channel.MessageCountAsync(ReservationPackConsumerDefinition.Queue, patience.Token) > 0;
        }
        catch (Exception) when (!cancellation.IsCancellationRequested)
        {
            // The queue does not exist, or the broker is in some trouble.
            return false;
        }
    }

    /// <summary>Whether the broker answers and no worker consumes the queue.</summary>
    public async Task<BrokerAnswer> IsDesertedAsync(CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(Longest);
        try
        {
            await using var connection = await ConnectAsync(patience.Token);
            await using var channel = await connection.CreateChannelAsync(cancellationToken: patience.Token);
            return await channel.ConsumerCountAsync(ReservationPackConsumerDefinition.Queue, patience.Token) == 0 ? BrokerAnswer.Yes : BrokerAnswer.No;
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == Constants.NotFound)
        {
            // A consumer declares the queue before it consumes, so a queue that does not exist has no consumer.
            return BrokerAnswer.Yes;
        }
        catch (Exception) when (!cancellation.IsCancellationRequested)
        {
            // The broker is in some trouble. The next look follows soon.
            return BrokerAnswer.Unknown;
        }
    }

    /// <summary>
    /// Whether the broker takes and confirms a message. A broker with an alarm does not confirm, and neither does one
    /// that hangs. The answer is <see cref="BrokerAnswer.Unknown"/> for both.
    /// </summary>
    public async Task<BrokerAnswer> ConfirmsAsync(CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(Longest);
        try
        {
            await using var connection = await ConnectAsync(patience.Token);
            await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), patience.Token);
            // No queue has this routing key, so the broker confirms the message and drops it. If this look gives up,
            // the confirm may still come, to a channel that is closed by then.
            await channel.BasicPublishAsync(exchange: "", routingKey: "flashsale-nowhere", body: ReadOnlyMemory<byte>.Empty, patience.Token);
            return BrokerAnswer.Yes;
        }
        catch (Exception) when (!cancellation.IsCancellationRequested)
        {
            return BrokerAnswer.Unknown;
        }
    }

    private async Task<IConnection> ConnectAsync(CancellationToken cancellation) =>
        await broker.OnceAsync(static async (url, token) => await url.ConnectAsync("flashsale-backlog", LongestOfOneNode, token), url, cancellation);
}
