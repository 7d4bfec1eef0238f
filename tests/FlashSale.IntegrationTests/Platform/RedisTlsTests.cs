using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>An Api that reaches Redis over TLS.</summary>
public sealed class RedisTlsTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    [Fact]
    public async Task An_Api_reaches_Redis_by_TLS_and_again_after_its_connections_broke()
    {
        var folder = Directory.CreateTempSubdirectory("flashsale-tls-");
        try
        {
            var port = Ports.Take();
            var certificate = await ListenAsync(port, folder.FullName);
            var settings = Stack.Settings();
            (settings["Redis__Endpoint"], settings["Redis__Ssl"], settings["SSL_CERT_FILE"]) = ($"127.0.0.1:{port}", "true", certificate);
            await using var api = new HostProcess("Api", settings);
            await api.StartAsync();
            var sale = await Stack.OpenSaleAsync(stock: 200);
            using var http = new HttpClient();
            await SellsAsync(new Shopper(http, () => api.Url, "before"), sale);
            for (var round = 0; round < 5; round++)
            {
                await Stack.Redis.Client.CallAsync("CLIENT", "KILL", "TYPE", "normal");
                await SellsAsync(new Shopper(http, () => api.Url, $"after-{round}"), sale);
            }
            Assert.Equal(6, (await Books.CheckAsync(Stack, sale)).Orders.Count);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // Uses the same key until an answer comes, so it is one purchase even if connections break in between.
    private static Task<Answer> SellsAsync(Shopper shopper, Sale sale) =>
        Eventually.GetAsync("a purchase by way of TLS", TimeSpan.FromSeconds(20), () => shopper.BuyAsync(sale, "once"), answer => answer.Status == 202);

    // Lets the stack's Redis listen for TLS as well. Returns the file of its certificate, which is its own authority.
    private async Task<string> ListenAsync(int port, string folder)
    {
        var files = await SelfSigned.CreateAsync(folder, "redis");
        await Stack.Redis.Client.CallAsync("CONFIG", "SET", "tls-cert-file", files.Certificate, "tls-key-file", files.Key, "tls-ca-cert-file", files.Certificate, "tls-auth-clients", "no");
        await Stack.Redis.Client.CallAsync("CONFIG", "SET", "tls-port", port);
        return files.Certificate;
    }
}
