using System.Net;
using System.Net.Sockets;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Events;

/// <summary>
/// A worker connects to its broker as the URL says: over TLS, to one of several nodes, within the timeout.
/// </summary>
public sealed class BrokerUrlTests(OwnBroker fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OwnBroker>
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task By_TLS_past_a_node_that_hangs_orders_and_events_arrive()
    {
        var broker = Stack.RabbitMq!;
        var tap = await EventTap.OpenAsync(Stack.Broker);
        var sale = await EventSale.OpenAsync(Stack);
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StopAsync()));
        // Nobody accepts from this listener. The kernel completes its connections, and it says nothing, like a frozen
        // process.
        using var hanging = new TcpListener(IPAddress.Loopback, 0);
        hanging.Start();
        var url = broker.TlsUrl.AbsoluteUri.Replace("@127", $"@127.0.0.1:{((IPEndPoint)hanging.LocalEndpoint).Port},127", StringComparison.Ordinal);
        await using (var worker = Worker($"{url}?cacertfile={Uri.EscapeDataString(broker.Authority)}&connection_timeout=3000"))
        {
            await worker.StartAsync();
            await sale.SellAsync(50);
            await sale.CheckAsync(tap);
            Assert.All(await ConnectionsAsync(), connection => Assert.Equal("true", connection));
            Assert.NotEmpty(await ConnectionsAsync());
        }
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
    }

    [Theory]
    // The machine does not know the broker's authority.
    [InlineData("127.0.0.1")]
    // The certificate is for 127.0.0.1.
    [InlineData("localhost")]
    public async Task A_broker_whose_certificate_proves_nothing_is_not_talked_to(string host)
    {
        var broker = Stack.RabbitMq!;
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StopAsync()));
        var url = new UriBuilder(broker.TlsUrl) { Host = host, Query = host == "localhost" ? $"cacertfile={Uri.EscapeDataString(broker.Authority)}" : "" }.Uri.AbsoluteUri;
        await using (var worker = Worker(url))
        {
            await worker.LaunchAsync();
            await Eventually.TrueAsync("the certificate is refused", Deadline, () => worker.Output.Contains("certificate", StringComparison.OrdinalIgnoreCase));
            Assert.Empty(await ConnectionsAsync());
        }
        await Task.WhenAll(Stack.Workers.Select(worker => worker.StartAsync()));
    }

    private HostProcess Worker(string url) => new("Worker", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["RabbitMq__Url"] = url });

    // Lists "true" or "false" for each connection of the product: whether it uses TLS.
    private async Task<IReadOnlyList<string>> ConnectionsAsync()
    {
        var list = await Stack.RabbitMq!.CtlAsync(["list_connections", "--quiet", "--no-table-headers", "ssl", "client_properties"]);
        return [.. list.Split('\n').Where(line => line.Contains("flashsale-", StringComparison.Ordinal)).Select(line => line.Split('\t')[0])];
    }
}
