using System.Net;
using System.Net.Sockets;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Transport;

/// <summary>Idle connections cost little memory and no purchase.</summary>
public sealed class ManyConnectionsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int Idle = 10_000;

    // 5 to 8 KB each were measured.
    private const double BytesEach = 24 * 1024;

    [Fact]
    public async Task Ten_thousand_idle_connections_cost_little_memory_and_nobody_a_purchase()
    {
        var sale = await Stack.OpenSaleAsync(stock: 1_000_000);
        await using var load = new Load(Stack, sale);
        await load.AcceptedMoreAsync(200);
        var memory = await Figures.OfAsync(Stack.Api, "process_resident_memory_bytes");
        using var idle = await Connections.OpenAsync(Stack.Api.Port, Idle);
        await Eventually.TrueAsync("all are there", TimeSpan.FromSeconds(20), async () => await Figures.OfAsync(Stack.Api, "flashsale_connections") >= Idle);
        await load.AcceptedMoreAsync(500);
        Assert.Equal(200, (await Figures.ReadyAsync(Stack.Api)).Status);
        var grown = await Figures.OfAsync(Stack.Api, "process_resident_memory_bytes") - memory;
        Tell($"{grown / Idle:0} bytes of memory per connection");
        Assert.InRange(grown / Idle, double.MinValue, BytesEach);
        await load.StopAsync();
        sale.History.AssertEveryoneWasServed();
        await Books.CheckAsync(Stack, sale);
    }
}

/// <summary>A host that takes at most 300 connections.</summary>
public sealed class FewConnections() : StackFixture(new StackOptions { Settings = { ["Transport__MaxConnections"] = "300" } });

/// <summary>A host with all connections taken refuses further ones.</summary>
public sealed class FullHostTests(FewConnections fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<FewConnections>
{
    private const int Max = 300;
    private const int Asked = 1_000;

    [Fact]
    public async Task A_full_host_closes_what_is_too_much_and_still_says_how_it_is()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100);
        using (var crowd = await Connections.OpenAsync(Stack.Api.Port, Asked))
        {
            await Eventually.TrueAsync("those that are too many are closed", TimeSpan.FromSeconds(20), () => crowd.Closed() >= Asked - Max);
            Assert.Equal(Max, await Figures.OfAsync(Stack.Api, "flashsale_connections"));
            Assert.True(await Figures.OfAsync(Stack.Api, "flashsale_connections_refused_total") >= Asked - Max);
            var ready = await Figures.ReadyAsync(Stack.Api);
            Assert.True(ready.Status == 200, $"{ready}");
            Assert.InRange(ready.Took, TimeSpan.Zero, TimeSpan.FromSeconds(1));
            // Another connection does not get in, so the host is really full.
            using var another = await Connections.OpenAsync(Stack.Api.Port, 1);
            await Eventually.TrueAsync("another one is closed", TimeSpan.FromSeconds(5), () => another.Closed() == 1);
        }
        await Eventually.GetAsync("there is room again", TimeSpan.FromSeconds(10), () => Stack.Shopper("patient").BuyAsync(sale, "k"), answer => answer.Status == 202);
        await Books.CheckAsync(Stack, sale);
    }
}

/// <summary>Connections that send nothing.</summary>
public sealed class Connections : IDisposable
{
    private readonly Socket[] _sockets;

    private Connections(Socket[] sockets) => _sockets = sockets;

    public static async Task<Connections> OpenAsync(int port, int count)
    {
        var sockets = new Socket[count];
        await Crowd.EachAsync(Enumerable.Range(0, count), 64, async i =>
        {
            sockets[i] = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await sockets[i].ConnectAsync(new IPEndPoint(IPAddress.Loopback, port));
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset)
            {
                // The server accepted and closed the connection before this end had looked.
            }
        });
        return new Connections(sockets);
    }

    /// <summary>
    /// The number of connections that the other end has closed. They are readable, since nothing else can come.
    /// </summary>
    public int Closed() => _sockets.Count(socket => !socket.Connected || socket.Poll(0, SelectMode.SelectRead));

    public void Dispose()
    {
        foreach (var socket in _sockets) socket.Dispose();
    }
}
