using System.Net.Sockets;
using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Admin;

/// <summary>Slow uploads and downloads do not keep a manager from acting.</summary>
[Collection<OnOneOfEach>]
public sealed class TransferTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    private const string Header = "sku,name,price,listPrice,currency,stock,perUserLimit\n";

    // Slow is more than the connection pool of actions holds. The others are the transfers that Admin takes at once.
    private const int Slow = 25;
    private const int UploadsAtOnce = 32;
    private const int DownloadsAtOnce = 16;

    [Fact]
    public async Task A_manager_pauses_at_once_while_many_send_files_slowly_and_uploads_are_bounded()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var draft = await Stack.Manager.CreateSaleAsync([]);
        await using var slow = new SlowUploads(Stack.Admin.Port, $"/api/v1/sales/{draft}/items:import", Header);
        await slow.BeginAsync(Slow);
        var paused = await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause");
        Tell($"Paused beside {Slow} uploads in {paused.Took.TotalSeconds:0.00} s");
        // A pool without a free connection refuses after five seconds.
        Manager.Expect(200, paused);
        Manager.Expect(200, await ImportAsync(draft));

        await slow.BeginAsync(UploadsAtOnce - Slow);
        await Eventually.GetAsync("one upload more is refused", TimeSpan.FromSeconds(20), () => ImportAsync(draft), answer => answer.Status == 503);
        Refusal.AssertIs(503, "temporarily_unavailable", await ImportAsync(draft));
        Manager.Expect(200, await Stack.Manager.ResumeAsync(sale.Id));
    }

    [Fact]
    public async Task A_manager_pauses_at_once_while_many_take_files_slowly_and_downloads_are_bounded()
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var large = await Stack.Manager.CreateSaleAsync([]);
        // The file has several megabytes, more than the socket buffers hold.
        await ExecuteAsync("""
            insert into orders (order_id, sale_id, sku, user_id, quantity, amount, currency, status, idempotency_key, accepted_at)
            select gen_random_uuid(), @large, 'a', 'user-' || n, 1, 1, 'CNY', 'cancelled', 'key-' || n, now() from generate_series(1, 60000) n
            """, new { large });
        var slow = new List<TcpClient>();
        try
        {
            for (var i = 0; i < DownloadsAtOnce; i++) slow.Add(await BeginDownloadAsync($"/api/v1/sales/{large}/orders.csv"));
            var paused = await Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause");
            Tell($"Paused beside {DownloadsAtOnce} downloads in {paused.Took.TotalSeconds:0.00} s");
            Manager.Expect(200, paused);
            // Slow readers hold no connection once Postgres has written its copy to the end.
            await Eventually.TrueAsync("no copy is under way", TimeSpan.FromSeconds(60), async () => await ScalarAsync<long>(
                "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and query like 'copy%'") == 0);
            Refusal.AssertIs(503, "temporarily_unavailable", await Stack.Manager.GetAsync($"/api/v1/sales/{large}/orders.csv"));
        }
        finally
        {
            foreach (var connection in slow) connection.Dispose();
        }
        var whole = await Eventually.GetAsync("there is a place again", TimeSpan.FromSeconds(60), () => Stack.Manager.GetAsync($"/api/v1/sales/{large}/orders.csv"), answer => answer.Status == 200);
        Assert.Equal(60_001, whole.Text.Count(character => character == '\n'));
    }

    // A refused client repeats its request. On a busy machine, running copies may hold the connections for longer than
    // a new download waits for one.
    private async Task<TcpClient> BeginDownloadAsync(string path)
    {
        TcpClient? begun = null;
        await Eventually.TrueAsync("the download has begun", TimeSpan.FromSeconds(120), async () => (begun = await TryBeginAsync(path)) is not null);
        return begun!;
    }

    private async Task<TcpClient?> TryBeginAsync(string path)
    {
        var connection = new TcpClient { ReceiveBufferSize = 4_096 };
        await connection.ConnectAsync("127.0.0.1", Stack.Admin.Port);
        var stream = connection.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {Manager.OperatorToken}\r\n\r\n"));
        var status = new byte["HTTP/1.1 200".Length];
        await stream.ReadExactlyAsync(status);
        if (Encoding.ASCII.GetString(status).EndsWith("200", StringComparison.Ordinal)) return connection;
        connection.Dispose();
        return null;
    }

    private async Task<Answer> ImportAsync(string id)
    {
        using var content = new StringContent($"{Header}a,A,1,,CNY,1,", null, "text/csv");
        return await Stack.Manager.SendAsync(HttpMethod.Post, $"/api/v1/sales/{id}/items:import", content);
    }

    /// <summary>Clients that send a file just fast enough for the server.</summary>
    private sealed class SlowUploads(int port, string path, string start) : IAsyncDisposable
    {
        private static readonly byte[] Drop = Encoding.ASCII.GetBytes(new string('\n', 400));

        private readonly CancellationTokenSource _over = new();
        private readonly List<Task> _clients = [];

        public async Task BeginAsync(int count)
        {
            var begun = Enumerable.Range(0, count).Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).ToArray();
            _clients.AddRange(begun.Select(SendAsync));
            await Task.WhenAll(begun.Select(one => one.Task));
        }

        public async ValueTask DisposeAsync()
        {
            await _over.CancelAsync();
            await Task.WhenAll(_clients);
            _over.Dispose();
        }

        private async Task SendAsync(TaskCompletionSource begun)
        {
            try
            {
                using var connection = new TcpClient();
                await connection.ConnectAsync("127.0.0.1", port, _over.Token);
                var stream = connection.GetStream();
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {Manager.OperatorToken}\r\n"
                    + $"Content-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n{start}"), _over.Token);
                for (var sent = 0; ; sent++)
                {
                    await stream.WriteAsync(Drop, _over.Token);
                    if (sent == 3) begun.TrySetResult();
                    await Task.Delay(200, _over.Token);
                }
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                begun.TrySetResult();
            }
        }
    }
}
