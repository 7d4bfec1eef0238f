using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>One host of each kind on a Postgres of their own.</summary>
public sealed class OnOwnPostgres() : StackFixture(new StackOptions { OwnPostgres = true });

/// <summary>A host connects to Postgres as its URL demands, or ends and says why it cannot.</summary>
public sealed class PostgresUrlTests(OnOwnPostgres fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OnOwnPostgres>
{
    private const int BadConfiguration = 78;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(90);

    [Theory]
    [InlineData("Admin", "Postgres__Url", "sslmode=require", "Postgres:Url", "TLS")]
    [InlineData("Worker", "Postgres__Url", "sslmode=verify-full", "Postgres:Url", "TLS")]
    [InlineData("Api", "Postgres__Url", "sslmode=verify-full", "Postgres:Url", "TLS")]
    [InlineData("Api", "Postgres__ReplicaUrl", "sslmode=require", "Postgres:ReplicaUrl", "TLS")]
    public async Task A_host_that_must_use_TLS_ends_where_there_is_none(string host, string setting, string query, params string[] told) =>
        await EndsAsync(host, setting, $"{Stack.Database.Url}?{query}", told);

    [Fact]
    public async Task A_host_uses_TLS_with_a_server_whose_authority_it_trusts_and_no_other()
    {
        var authority = await Stack.Postgres!.OfferTlsAsync();
        try
        {
            var (name, query) = ("tls-test", $"sslmode=verify-full&sslrootcert={Uri.EscapeDataString(authority)}");
            await using (var admin = Host("Admin", "Postgres__Url", $"{Stack.Database.Url}?{query}&application_name={name}"))
            {
                await admin.StartAsync();
                Assert.True(await ScalarAsync<bool>("select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name = @name", new { name }));
            }
            var folder = Directory.CreateTempSubdirectory("flashsale-tls-");
            var other = await SelfSigned.CreateAsync(folder.FullName, "other");
            await EndsAsync("Admin", "Postgres__Url", $"{Stack.Database.Url}?sslmode=verify-ca&sslrootcert={Uri.EscapeDataString(other.Certificate)}", "Postgres:Url", "not trusted");
            folder.Delete(recursive: true);
        }
        finally
        {
            await Stack.Postgres.OfferTlsAsync(offer: false);
        }
    }

    [Fact]
    public async Task Of_several_hosts_the_one_that_takes_writes_is_found()
    {
        var url = new Uri(Stack.Database.Url);
        await using var admin = Host("Admin", "Postgres__Url", $"postgresql://postgres@127.0.0.1:{Ports.Take()},127.0.0.1:{url.Port}{url.AbsolutePath}");
        await admin.StartAsync();
        using var manager = new Manager(() => admin.Url);
        await manager.CreateSaleAsync([new ItemDraft("phone-1", 1)]);
    }

    [Fact]
    public async Task A_pooler_is_refused_until_it_gives_each_client_a_session_of_its_own_with_the_time_limits()
    {
        string[] dropped = ["ignore_startup_parameters = options"];
        string[] transactions = ["pool_mode = transaction"];
        var database = new Uri(Stack.Database.Url).AbsolutePath.Trim('/');
        foreach (var mode in (string[][])[transactions, ["pool_mode = session"]])
        {
            // Apart from the mode, PgBouncer is configured as it is installed.
            await using (var bouncer = await PgBouncer.StartNewAsync(Stack.Database.Url, mode))
                await EndsAsync("Admin", "Postgres__Url", bouncer.By(Stack.Database.Url), "ignore_startup_parameters", "session mode");
            await using (var bouncer = await PgBouncer.StartNewAsync(Stack.Database.Url, [.. mode, .. dropped]))
                await EndsAsync("Admin", "Postgres__Url", bouncer.By(Stack.Database.Url), mode == transactions ? ["transaction"] : ["statement_timeout", $"alter role \"postgres\" in database \"{database}\" set"]);
        }
        await ExecuteAsync($"""
            alter role postgres in database {database} set statement_timeout = '30000';
            alter role postgres in database {database} set lock_timeout = '15000';
            alter role postgres in database {database} set idle_in_transaction_session_timeout = '60000';
            alter role postgres in database {database} set plan_cache_mode = 'force_custom_plan';
            """);
        try
        {
            await using (var bouncer = await PgBouncer.StartNewAsync(Stack.Database.Url, [.. transactions, .. dropped]))
                await EndsAsync("Worker", "Postgres__Url", bouncer.By(Stack.Database.Url), "Postgres:Url", "transaction", "pool_mode = session");
            await using var session = await PgBouncer.StartNewAsync(Stack.Database.Url, ["pool_mode = session", .. dropped]);
            await using var admin = Host("Admin", "Postgres__Url", session.By(Stack.Database.Url));
            await admin.StartAsync();
            using var manager = new Manager(() => admin.Url);
            await manager.CreateSaleAsync([new ItemDraft("phone-1", 1)]);
        }
        finally
        {
            await ExecuteAsync($"alter role postgres in database {database} reset all");
        }
    }

    [Fact]
    public async Task A_pooler_with_too_few_sessions_is_told()
    {
        await using var bouncer = await PgBouncer.StartNewAsync(Stack.Database.Url, "pool_mode = session", "ignore_startup_parameters = options", "default_pool_size = 1");
        await using var taken = new NpgsqlConnection(Database.ConnectionString(bouncer.By(Stack.Database.Url), pooling: false));
        await taken.OpenAsync();
        await using (var command = new NpgsqlCommand("select 1", taken)) await command.ExecuteScalarAsync();
        await using var admin = Host("Admin", "Postgres__Url", bouncer.By(Stack.Database.Url));
        await admin.LaunchAsync();
        await Eventually.TrueAsync("the host tells of it", Deadline, () => admin.Output.Contains("pool_size", StringComparison.Ordinal));
        Assert.True(admin.IsRunning);
        Assert.Contains("schema: waits for Postgres", (await Figures.ReadyAsync(admin)).Text);
    }

    [Fact]
    public async Task Sessions_that_became_read_only_as_after_a_failover_are_replaced()
    {
        var sale = await Stack.OpenSaleAsync(stock: 100, perUserLimit: 10);
        var order = await Stack.Shopper("before").BuyAsync(sale);
        await Books.CheckAsync(Stack, sale);
        // Open sessions take the server's new default. New sessions take the default of the role.
        await Stack.Postgres!.ExecuteAsync("alter role postgres set default_transaction_read_only = off", "alter system set default_transaction_read_only = on", "select pg_reload_conf()");
        try
        {
            Stack.Database.Source.Clear();
            var cancelled = await Eventually.GetAsync("a cancellation is done", Deadline, () => Stack.Shopper("before").CancelAsync(order.OrderId), answer =>
            {
                if (answer.Status != 200) Refusal.AssertIs(503, "temporarily_unavailable", answer);
                return answer.Status == 200;
            });
            Assert.Equal("cancelled", cancelled.Member("status"));
            await Eventually.GetAsync("a sale is paused", Deadline, () => Stack.Manager.PostAsync($"/api/v1/sales/{sale.Id}/pause"), answer =>
            {
                if (answer.Status != 200) Refusal.AssertIs(503, "temporarily_unavailable", answer);
                return answer.Status == 200;
            });
            await Stack.Manager.ResumeAsync(sale.Id);
            await Stack.StatusOnEveryNodeAsync(sale.Id, "open");
            await Crowd.AllBuyAsync(Stack, sale, users: 20);
            await Books.CheckAsync(Stack, sale);
            Assert.All(Stack.Hosts, host => Assert.DoesNotContain("fail:", host.OutputSinceMark));
        }
        finally
        {
            await Stack.Postgres.ExecuteAsync("alter system reset default_transaction_read_only", "alter role postgres reset default_transaction_read_only", "select pg_reload_conf()");
        }
    }

    private HostProcess Host(string host, string setting, string value) => new(host, new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { [setting] = value });

    private async Task EndsAsync(string host, string setting, string value, params string[] told)
    {
        await using var process = Host(host, setting, value);
        await process.LaunchAsync();
        var code = await process.ExitAsync(Deadline);
        Assert.True(code == BadConfiguration, $"It ended with {code}: {process.Output}");
        Assert.All(told, part => Assert.Contains(part, process.Output));
    }
}
