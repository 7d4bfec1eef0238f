using FlashSale.Ledger;
using FlashSale.Orders;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;
using FlashSale.Worker.Consumer;
using FlashSale.Worker.Keeper;
using FlashSale.Worker.Payments;
using FlashSale.Worker.Relay;
using MassTransit;

namespace FlashSale.Worker;

/// <summary>Puts the background work into the host.</summary>
public static class WorkerModule
{
    /// <summary>From the outbox to the broker.</summary>
    public static void AddRelay(this WebApplicationBuilder builder)
    {
        builder.Services.AddSettings<RelayOptions>(builder.Configuration, "Relay");
        builder.Services.AddSingleton<RelayMetrics>();
        builder.Services.AddHostedService<RelayService>();
    }

    /// <summary>From the broker to Postgres, and back to Redis.</summary>
    public static void AddConsumer(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<ReservationStore>();
        builder.Services.AddSingleton<DeadLetters>();
        builder.Services.AddSingleton<SettleScript>();
        builder.Services.AddSingleton<ReservationSettler>();
        builder.Services.AddSingleton<ConsumerMetrics>();
    }

    /// <summary>The two connections to the broker, one for each direction.</summary>
    public static void AddBroker(this WebApplicationBuilder builder)
    {
        var broker = builder.Services.AddSettings<RabbitMqOptions>(builder.Configuration, "RabbitMq");
        broker.Parse();
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

    /// <summary>Redis kept what Postgres says it is.</summary>
    public static void AddKeeper(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<CatalogPublisher>();
        builder.Services.AddSingleton<LedgerReader>();
        builder.Services.AddSingleton<SaleLoader>();
        builder.Services.AddSingleton<SaleVerifier>();
        builder.Services.AddSingleton<ChangeStockScript>();
        builder.Services.AddSingleton<StockChanges>();
        builder.Services.AddSingleton<BrokerBacklog>();
        builder.Services.AddHostedService<SaleKeeper>();
    }

    /// <summary>Payments that are to be given back.</summary>
    public static void AddRefunds(this WebApplicationBuilder builder)
    {
        var provider = builder.Services.AddSettings<PaymentProviderOptions>(builder.Configuration, "Payments");
        provider.Parse();
        builder.Services.AddSettings<RefundOptions>(builder.Configuration, "Refunds");
        builder.Services.AddSingleton<PaymentProvider>();
        builder.Services.AddSingleton<Refunds>();
        builder.Services.AddSingleton<RefundMetrics>();
        builder.Services.AddHostedService<RefundJob>();
    }
}
