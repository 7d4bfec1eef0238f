using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>Two of each host, and entries that were not settled are published again after a second.</summary>
public sealed class ImpatientRelay() : StackFixture(new StackOptions { Apis = 2, Workers = 2, Settings = { ["Relay__RepublishAfterSeconds"] = "1" } });

/// <summary>Two of each host with the deadlines of production, for tests whose subject is time.</summary>
public sealed class Punctual() : StackFixture(new StackOptions { Apis = 2, Workers = 2, ProductionDeadlines = true });

/// <summary>Postgres and RabbitMQ of its own, to be taken down.</summary>
public sealed class OwnServers() : StackFixture(new StackOptions
{
    Apis = 2, Workers = 2, OwnPostgres = true, OwnRabbitMq = true, Settings = { ["Relay__RepublishAfterSeconds"] = "2" },
});
