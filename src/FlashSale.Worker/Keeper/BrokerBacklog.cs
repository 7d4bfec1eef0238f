using FlashSale.Platform;
using FlashSale.Worker.Consumer;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker.Keeper;

/// <summary>Looks at the broker from outside: how many packs wait in the queue of reservations, whether anybody takes them, and whether it takes anything.</summary>
public sealed class BrokerBacklog(RabbitMqUrl url, [FromKeyedServices(Dependency.RabbitMq)] Dependency broker)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);

    // So that another node can be asked in the same look, where one hangs.
    private static readonly TimeSpan LongestOfOneNode = TimeSpan.FromSeconds(2);

    // A relay that asks must not lose its lease meanwhile.
    private static readonly TimeSpan LongestOfRelay = TimeSpan.FromSeconds(1);

    // What was just handed to a consumer is in no count: it has reached Postgres when several looks in a row found nothing.
    private const int LooksInARow = 4;

    /// <summary>
    /// Returns once the queue has drained, or when that cannot be found out, since the broker is away, or takes too long:
    /// orders that come later are judged by Postgres, so nothing is oversold either way.
    /// </summary>
    /// <param name="longest">How long to wait.</param>
    /// <param name="cancellation">Ends the wait with an exception.</param>
    /// <returns>Whether it has drained.</returns>
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

    /// <summary>Whether packs wait in the queue for a consumer. False where that cannot be found out.</summary>
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
            // No queue, or a broker in whatever trouble.
            return false;
        }
    }

    /// <summary>Whether the broker answers and nobody consumes the queue, of any worker.</summary>
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
            // Whoever consumes makes the queue first.
            return BrokerAnswer.Yes;
        }
        catch (Exception) when (!cancellation.IsCancellationRequested)
        {
            // A broker in whatever trouble; the next look is not far.
            return BrokerAnswer.Unknown;
        }
    }

    /// <summary>
    /// Whether the broker takes and confirms a message. One with an alarm does not, as little as one that hangs: both
    /// are unknown.
    /// </summary>
    public async Task<BrokerAnswer> ConfirmsAsync(CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(Longest);
        try
        {
            await using var connection = await ConnectAsync(patience.Token);
            await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true), patience.Token);
            // To no queue: it is confirmed and gone. One that is given up may be confirmed later, to a channel that is
            // closed.
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
