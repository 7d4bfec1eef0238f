using FlashSale.Platform;
using FlashSale.Worker.Consumer;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker.Keeper;

/// <summary>Looks how many packs wait in the queue of reservations.</summary>
public sealed class BrokerBacklog(RabbitMqOptions options, [FromKeyedServices(Dependency.RabbitMq)] Dependency broker)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    // What was just handed to a consumer is in no count: it has reached Postgres when several looks in a row found nothing.
    private const int LooksInARow = 4;

    /// <summary>
    /// Returns once the queue has drained, or when that cannot be found out, since the broker is away, or takes too long:
    /// orders that come later are judged by Postgres, so nothing is oversold either way.
    /// </summary>
    /// <param name="longest">How long to wait.</param>
    /// <param name="cancellation">Ends the wait with an exception.</param>
    public async Task DrainedAsync(TimeSpan longest, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(longest);
        try
        {
            var factory = new ConnectionFactory { Uri = options.Parse(), ClientProvidedName = "flashsale-backlog", AutomaticRecoveryEnabled = false };
            await using var connection = await broker.OnceAsync(static async (factory, token) => await factory.CreateConnectionAsync(token), factory, patience.Token);
            await using var channel = await connection.CreateChannelAsync(cancellationToken: patience.Token);
            for (var empty = 0; empty < LooksInARow; await Task.Delay(Interval, patience.Token))
                empty = await channel.MessageCountAsync(ReservationPackConsumerDefinition.Queue, patience.Token) == 0 ? empty + 1 : 0;
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested
            && e is OperationCanceledException or BrokerUnreachableException or OperationInterruptedException or AlreadyClosedException or IOException or DependencyRejectedException or DependencyTimeoutException)
        {
            // Not to be found out.
        }
    }
}
