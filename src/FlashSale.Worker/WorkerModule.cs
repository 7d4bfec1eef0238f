using FlashSale.Admission;
using FlashSale.Ledger;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using FlashSale.Worker.Consumer;
using FlashSale.Worker.Events;
using FlashSale.Worker.Keeper;
using FlashSale.Worker.Orders;
using FlashSale.Worker.Payments;
using FlashSale.Worker.Relay;
using MassTransit;
using Npgsql;
using RabbitMQ.Client.Exceptions;

namespace FlashSale.Worker;

/// <summary>Registers the worker's background work in the host.</summary>
public static class WorkerModule
{
    private const int MinPoolSize = 6;

    /// <summary>Adds the relay, which carries reservations from the outboxes in Redis to the broker.</summary>
    public static void AddRelay(this WebApplicationBuilder builder)
    {
        var options = builder.Services.AddSettings<RelayOptions>(builder.Configuration, "Relay");
        builder.Services.AddSingleton(new RelayPace(options.BusyPerSecond));
        builder.Services.AddSingleton<RelayHealth>();
        builder.Services.AddSingleton<RelayMetrics>();
        builder.Services.AddHostedService<RelayService>();
    }

    /// <summary>
    /// Adds the services of the consumer, which stores packs from the broker in Postgres and settles them in Redis.
    /// </summary>
    public static void AddConsumer(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<ReservationStore>();
        builder.Services.AddSingleton<DeadLetters>();
        builder.Services.AddSingleton<SettledLog>();
        builder.Services.AddSingleton<SettleScript>();
        builder.Services.AddSingleton<ReservationSettler>();
        builder.Services.AddSingleton<ConsumerMetrics>();
    }

    /// <summary>
    /// Adds the publisher of order events, from Postgres to other systems. It needs the pace of <see cref="AddRelay"/>.
    /// </summary>
    public static void AddEvents(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<EventsOptions>(builder.Configuration, "Events");
        // The publisher's lock and the commit watch hold one connection each all the time. In a smaller pool the
        // consumers would wait for a connection for ever.
        var pool = Settings.Read<PostgresOptions>(builder.Configuration, "Postgres").MaxPoolSize;
        if (pool < MinPoolSize) throw new InvalidSettingException($"Postgres:MaxPoolSize = '{pool}': allowed for a worker is {MinPoolSize} to 1000.");
        builder.Services.AddSingleton<OrderEventStore>();
        builder.Services.AddSingleton<OrderEventMetrics>();
        builder.Services.AddHostedService<OrderEventPublisher>();
        builder.Services.AddHostedService<OrderEventLag>();
    }

    /// <summary>
    /// Adds the two connections that carry reservations: the relay publishes over one, the consumer receives over the
    /// other.
    /// </summary>
    public static void AddBroker(this WebApplicationBuilder builder)
    {
        var broker = builder.Services.AddSettings<RabbitMqOptions>(builder.Configuration, "RabbitMq").Read();
        builder.Services.AddSingleton(broker);
        builder.AddBrokerDependency();
        builder.Services.AddMassTransit(bus =>
        {
            bus.DisableUsageTelemetry();
            bus.AddConsumer<ReservationPackConsumer, ReservationPackConsumerDefinition>();
            bus.UsingRabbitMq((context, rabbit) =>
            {
                broker.Configure(rabbit, "flashsale-consumer");
                rabbit.ConfigureEndpoints(context);
            });
        });
        builder.Services.AddMassTransit<IRelayBus>(bus =>
        {
            bus.DisableUsageTelemetry();
            bus.UsingRabbitMq((_, rabbit) => broker.Configure(rabbit, "flashsale-relay"));
        });
    }

    /// <summary>
    /// Adds the guard (timeout, breaker, places) between the worker and the broker. The relay and the consumer do not
    /// use it, since they retry without end by themselves.
    /// </summary>
    private static void AddBrokerDependency(this WebApplicationBuilder builder) => builder.AddDependency(new(
        Dependency.RabbitMq, "RabbitMq",
        new DependencyOptions { TimeoutMilliseconds = 10_000, MinCalls = 2, SamplingSeconds = 10, BreakMilliseconds = 1_000, MaxConcurrent = 16, WaitMilliseconds = 1_000 },
        static e => e is RabbitMQClientException or IOException or TimeoutException && e is not RabbitMQ.Client.Exceptions.PublishException));

    /// <summary>
    /// Adds the jobs that keep Redis as Postgres has it, and the watches over the stores and the broker. They need the
    /// health of <see cref="AddRelay"/>.
    /// </summary>
    public static void AddKeeper(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<CatalogPublisher>();
        builder.Services.AddSingleton<LedgerReader>();
        builder.Services.AddSingleton<RedisHeadroom>();
        builder.Services.AddSingleton<RedisLog>();
        builder.Services.AddSingleton<SaleLoader>();
        builder.Services.AddSingleton<SaleVerifier>();
        builder.Services.AddSingleton<ChangeStockScript>();
        builder.Services.AddSingleton<StockChanges>();
        builder.Services.AddSingleton<BrokerBacklog>();
        builder.Services.AddSingleton<KeptSales>();
        builder.Services.AddHostedService<BrokerWatch>();
        builder.Services.AddSettings<FailoverOptions>(builder.Configuration, "Failover");
        builder.Services.AddSingleton<PostgresMemory>();
        builder.Services.AddSingleton<PostgresLosses>();
        builder.Services.AddSingleton<PostgresPrimary>();
        builder.Services.AddSingleton<PostgresWatch>();
        builder.Services.AddSingleton<CommitWatch>();
        builder.Services.AddHostedService(services => services.GetRequiredService<CommitWatch>());
        builder.Services.AddSingleton(services =>
        {
            var commits = services.GetRequiredService<CommitWatch>();
            return new ReadinessCheck("postgres-commits", () => commits.Problem);
        });
        builder.Services.AddHostedService<SaleKeeper>();
        builder.Services.AddSingleton<OpsSettings>();
        builder.Services.AddHostedService<OpsKeeper>();
    }

    /// <summary>
    /// Adds the jobs that compare the books of sales, close and archive them, and have Redis' append-only file
    /// rewritten.
    /// </summary>
    public static void AddReconciliation(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<ReconcileOptions>(builder.Configuration, "Reconcile");
        builder.Services.AddSingleton<Reconciliation>();
        builder.Services.AddSingleton<SaleArchiver>();
        builder.Services.AddHostedService<ReconcileJob>();
        builder.Services.AddHostedService<ClosingJob>();
        builder.Services.AddSettings<RedisLogOptions>(builder.Configuration, "RedisLog");
        builder.Services.AddHostedService<RedisLogJob>();
    }

    /// <summary>
    /// Adds the jobs that expire unpaid orders, carry units of closed orders back to Redis, and settle decided dead
    /// letters.
    /// </summary>
    public static void AddOrderLife(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<OrderOptions>(builder.Configuration, "Orders");
        builder.Services.AddSingleton<OrderMoves>();
        builder.Services.AddSingleton<StockReturns>();
        builder.Services.AddHostedService<ExpiryJob>();
        builder.Services.AddHostedService<StockReturnJob>();
        builder.Services.AddHostedService<DeadLetterJob>();
    }

    /// <summary>
    /// Adds the jobs that ask the provider for refunds, and about payments for which no notice has come. They need the
    /// options of <see cref="AddOrderLife"/>.
    /// </summary>
    public static void AddRefunds(this WebApplicationBuilder builder)
    {
        builder.AddPaymentProvider();
        builder.Services.AddSettings<RefundOptions>(builder.Configuration, "Refunds");
        builder.Services.AddSingleton<Refunds>();
        builder.Services.AddSingleton<RefundMetrics>();
        builder.Services.AddHostedService<RefundJob>();
        builder.Services.AddSettings<PaymentCheckOptions>(builder.Configuration, "PaymentChecks");
        builder.Services.AddSingleton<PaymentChecks>();
        builder.Services.AddSingleton<PaymentCheckMetrics>();
        // The value of refundsReturnUnits has no effect here. The worker asks only about payments that have not paid an
        // order, so no units depend on their refund.
        builder.Services.AddSingleton(services => new PaymentNotices(
            services.GetRequiredService<NpgsqlDataSource>(), services.GetRequiredService<RedisConnection>(), refundsReturnUnits: true));
        builder.Services.AddHostedService<PaymentCheckJob>();
    }

    /// <summary>Adds the jobs that keep the blocklist in Redis as Postgres has it, and that prune it.</summary>
    public static void AddBlocklist(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<BlocklistPublisher>();
        builder.Services.AddHostedService<BlocklistJob>();
        builder.Services.AddHostedService<BlocklistPruneJob>();
    }
}
