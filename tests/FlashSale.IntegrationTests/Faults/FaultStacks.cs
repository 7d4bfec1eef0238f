using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Faults;

/// <summary>Two Api nodes and two workers that publish unsettled entries again after a second.</summary>
public sealed class ImpatientRelay() : StackFixture(new StackOptions { Apis = 2, Workers = 2, Settings = { ["Relay__RepublishAfterSeconds"] = "1" } });

/// <summary>Two Api nodes and two workers with the deadlines of production, for tests that measure time.</summary>
public sealed class Punctual() : StackFixture(new StackOptions { Apis = 2, Workers = 2, ProductionDeadlines = true });

/// <summary>
/// Two Api nodes and two workers with a Postgres and a RabbitMQ of their own, which tests may take down.
/// </summary>
public sealed class OwnServers() : StackFixture(new StackOptions
{
    Apis = 2, Workers = 2, OwnPostgres = true, OwnRabbitMq = true, Settings = { ["Relay__RepublishAfterSeconds"] = "2" },
});
