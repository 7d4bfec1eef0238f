using System.Diagnostics.Metrics;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Platform;
using MassTransit;

namespace FlashSale.Worker.Consumer;

/// <summary>
/// Stores packs from the queue in Postgres and settles them in Redis. After a failure, such as a store that is away, it
/// tries again without end: the message stays unacknowledged and never goes to an error queue. A message of an unknown
/// version is acknowledged without effect, since its entries stay in the outbox and are published again for a worker
/// that knows the version.
/// </summary>
public sealed partial class ReservationPackConsumer(ReservationSettler settler, PostgresPrimary primary, ConsumerMetrics metrics, ILogger<ReservationPackConsumer> logger)
    : IConsumer<ReservationPack>
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(2);

    /// <inheritdoc />
    public async Task Consume(ConsumeContext<ReservationPack> context)
    {
        var pack = context.Message;
        if (pack.Version != ReservationCodec.Version)
        {
            LogUnknownVersion(pack.SaleId, pack.Version);
            return;
        }
        for (var delay = FirstDelay; ; delay = delay * 2 < LongestDelay ? delay * 2 : LongestDelay)
        {
            try
            {
                await primary.TrustedAsync(context.CancellationToken);
                var forgotten = await settler.HandleAsync(pack, context.CancellationToken);
                if (forgotten > 0) LogForgotten(pack.SaleId, forgotten);
                metrics.Settled(pack.Entries.Count, forgotten);
                return;
            }
            catch (Exception e) when (e is not OperationCanceledException || !context.CancellationToken.IsCancellationRequested)
            {
                if (delay == FirstDelay || !Stores.IsAway(e)) LogRetried(pack.SaleId, e.Message, Stores.IsAway(e) ? null : e);
                // Jitter keeps two batches that deadlocked from meeting again.
                await Task.Delay(delay * (0.5 + Random.Shared.NextDouble()), context.CancellationToken);
            }
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "A message of sale {SaleId} has version {Version}, which this worker does not know: its entries stay in the outbox")]
    private partial void LogUnknownVersion(string saleId, int version);

    [LoggerMessage(2, LogLevel.Warning, "Redis had forgotten {Count} orders of sale {SaleId}; they are debited")]
    private partial void LogForgotten(string saleId, int count);

    [LoggerMessage(3, LogLevel.Warning, "Reservations of sale {SaleId} are tried again: {Reason}")]
    private partial void LogRetried(string saleId, string reason, Exception? e);
}

/// <summary>Counts outbox entries that were settled, and orders that Redis had forgotten.</summary>
public sealed class ConsumerMetrics
{
    private static readonly Meter Meter = new("FlashSale.Consumer");

    private readonly Counter<long> _entries = Meter.CreateCounter<long>("flashsale_settled_entries_total", description: "Outbox entries settled, repeats included.");
    private readonly Counter<long> _forgotten = Meter.CreateCounter<long>("flashsale_forgotten_orders_total", description: "Orders that Redis had forgotten when they were settled.");

    /// <summary>
    /// Counts the entries of a settled pack, repeats included, and the orders among them that Redis had forgotten.
    /// </summary>
    public void Settled(int entries, int forgotten)
    {
        _entries.Add(entries);
        if (forgotten > 0) _forgotten.Add(forgotten);
    }
}

/// <summary>Defines the queue of reservations: a quorum queue without TTL or length limit.</summary>
public sealed class ReservationPackConsumerDefinition : ConsumerDefinition<ReservationPackConsumer>
{
    /// <summary>The queue's name.</summary>
    public const string Queue = "flashsale-reservations";

    // Each pack is one transaction. Four at once keep Postgres busy while some of them wait for the disk, for the lock
    // of an item or for Redis.
    private const int PacksAtOnce = 4;

    /// <summary>Sets the queue's name and the number of packs that are worked on at once.</summary>
    public ReservationPackConsumerDefinition()
    {
        EndpointName = Queue;
        ConcurrentMessageLimit = PacksAtOnce;
    }

    /// <inheritdoc />
    protected override void ConfigureConsumer(
        IReceiveEndpointConfigurator endpointConfigurator, IConsumerConfigurator<ReservationPackConsumer> consumerConfigurator, IRegistrationContext context)
    {
        endpointConfigurator.PrefetchCount = PacksAtOnce * 2;
        endpointConfigurator.RethrowFaultedMessages();
        endpointConfigurator.ThrowOnSkippedMessages();
        // A quorum queue without TTL or length limit: a message leaves it only once it is settled. Up to RabbitMQ 3
        // nothing limits its deliveries either. From 4 on the default limit is 20 deliveries, counted by connections
        // that were lost while they held the message. The broker then drops the message, but the relay publishes its
        // entries again, so they are late and not lost. No limit is declared here: -1 means "none" to RabbitMQ 4 but
        // "drop at the first return" to 3.10, and an existing queue cannot be declared again with another limit.
        if (endpointConfigurator is IRabbitMqReceiveEndpointConfigurator rabbit) rabbit.SetQuorumQueue();
    }
}
