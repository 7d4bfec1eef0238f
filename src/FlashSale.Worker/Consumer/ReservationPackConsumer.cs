using System.Diagnostics.Metrics;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Platform;
using MassTransit;

namespace FlashSale.Worker.Consumer;

/// <summary>
/// Takes packs from the queue to Postgres. A store that is away is waited for, without end: the message stays
/// unacknowledged and never goes to an error queue. A message of an unknown version is let go, since its entries stay
/// in the outbox and are published again for a worker that knows it.
/// </summary>
public sealed partial class ReservationPackConsumer(ReservationSettler settler, ConsumerMetrics metrics, ILogger<ReservationPackConsumer> logger)
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
                var forgotten = await settler.HandleAsync(pack, context.CancellationToken);
                if (forgotten > 0) LogForgotten(pack.SaleId, forgotten);
                metrics.Settled(pack.Entries.Count, forgotten);
                return;
            }
            catch (Exception e) when (e is not OperationCanceledException || !context.CancellationToken.IsCancellationRequested)
            {
                if (delay == FirstDelay || !Stores.IsAway(e)) LogRetried(pack.SaleId, e.Message, Stores.IsAway(e) ? null : e);
                // Jitter, so that two batches that deadlocked do not meet again.
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

/// <summary>Counts what was settled.</summary>
public sealed class ConsumerMetrics
{
    private static readonly Meter Meter = new("FlashSale.Consumer");

    private readonly Counter<long> _entries = Meter.CreateCounter<long>("flashsale_settled_entries_total", description: "Outbox entries settled, repeats included.");
    private readonly Counter<long> _forgotten = Meter.CreateCounter<long>("flashsale_forgotten_orders_total", description: "Orders that Redis had forgotten when they were settled.");

    /// <summary>A pack was settled.</summary>
    public void Settled(int entries, int forgotten)
    {
        _entries.Add(entries);
        if (forgotten > 0) _forgotten.Add(forgotten);
    }
}

/// <summary>The queue of reservations.</summary>
public sealed class ReservationPackConsumerDefinition : ConsumerDefinition<ReservationPackConsumer>
{
    /// <summary>The queue's name.</summary>
    public const string Queue = "flashsale-reservations";

    // Each pack is one transaction: enough of them to keep Postgres busy while others wait for the disk, for an item's lock or for Redis.
    private const int PacksAtOnce = 4;

    /// <summary>Names the queue.</summary>
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
        // Quorum, and no TTL or length limit: a message goes when it was settled. Up to RabbitMQ 3 nothing limits its
        // deliveries either. From 4 on the default limit is 20, counted by connections that were lost with it: the
        // broker then drops it, and the relay publishes its entries again, so it is late but not lost. A limit is not
        // declared here: -1 means "none" to RabbitMQ 4 and "drop at the first return" to 3.10, and a queue that exists
        // cannot be declared with another one.
        if (endpointConfigurator is IRabbitMqReceiveEndpointConfigurator rabbit) rabbit.SetQuorumQueue();
    }
}
