using System.Net;
using FlashSale.LoadTests.Faults;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>The parts of the stack that a test class needs.</summary>
public sealed record StackOptions
{
    /// <summary>The number of Api nodes.</summary>
    public int Apis { get; init; } = 1;

    /// <summary>The number of workers.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>Whether the stack has a Postgres of its own, which a test may take down.</summary>
    public bool OwnPostgres { get; init; }

    /// <summary>Whether the stack has a RabbitMQ of its own, which a test may take down.</summary>
    public bool OwnRabbitMq { get; init; }

    /// <summary>
    /// Whether the sandbox of a payment provider runs. Otherwise the hosts have its address, but nobody answers there.
    /// </summary>
    public bool Payments { get; init; }

    /// <summary>
    /// Whether purchases wait for Redis only as long as in production. Tests that do not measure time wait longer,
    /// because a busy test machine that stalls for 200 ms must not look like a fault of Redis.
    /// </summary>
    public bool ProductionDeadlines { get; init; }

    /// <summary>Whether the hosts reach Redis by a name that can be moved to another server.</summary>
    public bool RedisByName { get; init; }

    /// <summary>Further settings of all hosts.</summary>
    public Dictionary<string, string> Settings { get; init; } = [];
}

/// <summary>The whole product on real servers, with a database, a virtual host and a Redis of its own.</summary>
public sealed class Stack : IAsyncDisposable
{
    /// <summary>The key that signs tickets and challenges.</summary>
    public const string TicketKey = "a-ticket-key-of-the-tests-of-32-bytes-or-more";

    private readonly HttpClient _http = new(new SocketsHttpHandler { MaxConnectionsPerServer = 256 }) { Timeout = TimeSpan.FromSeconds(30) };
    private readonly List<IAsyncDisposable> _parts = [];
    private readonly Dictionary<string, string> _sandboxSettings = new(StringComparer.Ordinal)
    {
        ["Sandbox__ApiKey"] = Provider.ApiKey, ["Sandbox__WebhookSecret"] = Provider.WebhookSecret, ["Sandbox__RetryMilliseconds"] = "100",
    };

    private Stack(StackOptions options) => Options = options;

    public StackOptions Options { get; }

    public RedisServer Redis { get; private set; } = null!;

    /// <summary>The name that leads the hosts to Redis, where the options ask for one.</summary>
    public Proxy? RedisName { get; private set; }

    public Database Database { get; private set; } = null!;

    public Broker Broker { get; private set; } = null!;

    /// <summary>The Postgres server, where the stack has its own.</summary>
    public PostgresServer? Postgres { get; private set; }

    /// <summary>The RabbitMQ node, where the stack has its own.</summary>
    public RabbitMqServer? RabbitMq { get; private set; }

    public HostProcess Admin { get; private set; } = null!;

    public IReadOnlyList<HostProcess> Apis { get; private set; } = [];

    public IReadOnlyList<HostProcess> Workers { get; private set; } = [];

    public HostProcess Api => Apis[0];

    public HostProcess Worker => Workers[0];

    /// <summary>The sandbox of a payment provider. It runs where the options ask for it.</summary>
    public HostProcess Sandbox { get; private set; } = null!;

    /// <summary>The payment provider as the merchant and the shopper see it.</summary>
    public Provider Provider { get; private set; } = null!;

    public IEnumerable<HostProcess> Hosts => [Admin, .. Apis, .. Workers, .. Options.Payments ? [Sandbox] : Array.Empty<HostProcess>()];

    /// <summary>A campaign manager with the operator's token.</summary>
    public Manager Manager { get; private set; } = null!;

    public static async Task<Stack> StartAsync(StackOptions options)
    {
        var stack = new Stack(options);
        try
        {
            await Task.WhenAll(stack.StartRedisAsync(), stack.StartDatabaseAsync(), stack.StartBrokerAsync());
            stack.AddSandbox();
            stack.Admin = stack.AddHost("Admin");
            stack.Apis = [.. Enumerable.Range(0, options.Apis).Select(_ => stack.AddHost("Api"))];
            stack.Workers = [.. Enumerable.Range(0, options.Workers).Select(_ => stack.AddHost("Worker"))];
            stack.Manager = new Manager(() => stack.Admin.Url);
            stack._sandboxSettings["Sandbox__WebhookUrl"] = new Uri(stack.Api.Url, "/api/v1/payments/webhook").AbsoluteUri;
            // Start all hosts at once. The first one migrates the database.
            await Task.WhenAll(stack.Hosts.Select(host => host.StartAsync()));
            return stack;
        }
        catch
        {
            await stack.DisposeAsync();
            throw;
        }
    }

    /// <summary>Adds another host on the same servers. The stack ends it.</summary>
    public HostProcess AddHost(string host)
    {
        var process = new HostProcess(host, Settings());
        lock (_parts) _parts.Add(process);
        return process;
    }

    /// <summary>The settings of every host.</summary>
    public Dictionary<string, string> Settings() => new(Manager.TokenSettings().Concat(PatientSettings()).Concat(Options.Settings), StringComparer.Ordinal)
    {
        ["Redis__Endpoint"] = RedisName is null ? Redis.Endpoint : $"127.0.0.1:{RedisName.Port}",
        ["Postgres__Url"] = Database.Url,
        ["RabbitMq__Url"] = Broker.Url.AbsoluteUri,
        ["Jwt__Issuer"] = Tokens.Issuer,
        ["Jwt__Audience"] = Tokens.Audience,
        ["Jwt__Keys__0__Kid"] = Tokens.KeyId,
        ["Jwt__Keys__0__Secret"] = Tokens.Secret,
        ["Admission__TicketKey"] = TicketKey,
        ["Webhook__Secret"] = Provider.WebhookSecret,
        ["Payments__BaseUrl"] = Sandbox.Url.AbsoluteUri,
        ["Payments__ApiKey"] = Provider.ApiKey,
    };

    /// <summary>
    /// Freezes all workers at a moment when none of them holds a sale alone or waits for it. A worker does so now and
    /// then to compare its books. A worker frozen in that moment would keep others from moving any order of the sale.
    /// </summary>
    public async Task FreezeWorkersAsync()
    {
        await using var command = Database.Source.CreateCommand(
            "select exists (select 1 from pg_locks l join pg_database d on d.oid = l.database where d.datname = current_database() and l.locktype = 'advisory' and l.classid = 1 and l.mode = 'ExclusiveLock')");
        while (true)
        {
            foreach (var worker in Workers) worker.Freeze();
            if (!(bool)(await command.ExecuteScalarAsync())!) return;
            foreach (var worker in Workers) worker.Thaw();
        }
    }

    /// <summary>
    /// Fails Redis over behind its name: a replica that has caught up is promoted, the name leads to it, and the old
    /// primary goes on as its replica.
    /// </summary>
    public async Task FailOverRedisAsync()
    {
        var (old, promoted) = (Redis, Add(await RedisServer.StartNewAsync()));
        await promoted.FollowAsync(old);
        await promoted.PromoteAsync();
        await old.FollowAsync(promoted);
        RedisName!.MoveTo(new IPEndPoint(IPAddress.Loopback, promoted.Port));
        Redis = promoted;
    }

    /// <summary>A shopper at one of the nodes.</summary>
    public Shopper Shopper(string userId, int node = 0, string? token = null) => new(_http, () => Apis[node].Url, userId, token);

    /// <summary>Creates, loads and opens a sale, and waits until every node shows it as open.</summary>
    public Task<Sale> OpenSaleAsync(int stock, int perUserLimit = 1, int payWithinSeconds = 900) =>
        OpenSaleAsync([new ItemDraft("phone-1", stock, perUserLimit)], payWithinSeconds: payWithinSeconds);

    /// <inheritdoc cref="OpenSaleAsync(int, int, int)" />
    public async Task<Sale> OpenSaleAsync(IReadOnlyList<ItemDraft> items, int? perUserLimit = null, int payWithinSeconds = 900, bool loadRun = false)
    {
        var id = await Manager.CreateSaleAsync(items, perUserLimit: perUserLimit, payWithinSeconds: payWithinSeconds, loadRun: loadRun);
        await Manager.PreloadAsync(id);
        await Manager.OpenAsync(id);
        await StatusOnEveryNodeAsync(id, "open");
        return new Sale(id, items);
    }

    /// <summary>Opens a sale that requires tickets, and waits until every node shows it as open.</summary>
    public async Task<Sale> OpenTicketedSaleAsync(int stock, int perUserLimit = 1, int? admissionPerSecond = null)
    {
        ItemDraft[] items = [new("phone-1", stock, perUserLimit)];
        var id = await Manager.CreateSaleAsync(items, requiresTicket: true, admissionPerSecond: admissionPerSecond);
        await Manager.PreloadAsync(id);
        await Manager.OpenAsync(id);
        await StatusOnEveryNodeAsync(id, "open");
        return new Sale(id, items);
    }

    /// <summary>
    /// Waits, without buying, until every node sells a sale again. A purchase of too many units gets
    /// purchase_limit_reached only when the sale is loaded, verified and open.
    /// </summary>
    /// <returns>The time that the slowest node took.</returns>
    public async Task<TimeSpan> SellsOnEveryNodeAsync(Sale sale)
    {
        var tooMany = sale.Items[0].PerUserLimit + 1;
        var took = await Task.WhenAll(Enumerable.Range(0, Apis.Count).Select(node =>
            Eventually.TrueAsync($"node {node} sells {sale.Id}", TimeSpan.FromSeconds(30), async () =>
                (await Shopper($"probe-{Guid.NewGuid():N}", node).PurchaseAsync(sale.Id, $$"""{"sku":"{{sale.Sku}}","quantity":{{tooMany}}}""", "probe")).Code == "purchase_limit_reached")));
        return took.Max();
    }

    /// <summary>
    /// Starts the stack's own Postgres again, drops the test's broken connections, and waits until the Admin host
    /// reaches it.
    /// </summary>
    public async Task StartPostgresAsync()
    {
        await Postgres!.StartAsync();
        Database.Source.Clear();
        await Eventually.GetAsync("the Admin host reaches Postgres again", TimeSpan.FromSeconds(20), () => Manager.GetAsync("/api/v1/sales"), answer => answer.Status == 200);
    }

    /// <summary>
    /// Lets a standby take the place of the stack's own Postgres, and waits as <see cref="StartPostgresAsync"/> does.
    /// </summary>
    public async Task FailOverPostgresAsync(PostgresServer standby)
    {
        await Postgres!.FailOverAsync(standby);
        Database.Source.Clear();
        await Eventually.GetAsync("the Admin host reaches Postgres again", TimeSpan.FromSeconds(20), () => Manager.GetAsync("/api/v1/sales"), answer => answer.Status == 200);
    }

    /// <summary>
    /// Sells until the broker has all orders and Postgres has none, and kills the workers, so that no worker holds an
    /// order.
    /// </summary>
    public async Task SellIntoBrokerAsync(Sale sale, int users, string prefix = "in-broker")
    {
        await using var tap = await MessageTap.OpenAsync(Broker);
        await using var orders = await TableLock.OfOrdersAsync(Database);
        await Crowd.AllBuyAsync(this, sale, users, prefix);
        await Eventually.TrueAsync($"{users} orders have been handed to the broker", TimeSpan.FromSeconds(20), async () => await tap.ReservationsAsync() >= users);
        await Task.WhenAll(Workers.Select(worker => worker.KillAsync()));
        // Sessions of the dead workers still wait for the lock. Without ending them, they would store orders on its
        // release.
        await Database.EndOtherSessionsAsync();
    }

    /// <summary>Waits until every node shows a sale with this status.</summary>
    public async Task StatusOnEveryNodeAsync(string saleId, string status)
    {
        for (var node = 0; node < Apis.Count; node++)
        {
            var shopper = Shopper("somebody", node);
            await Eventually.GetAsync($"node {node} shows {saleId} as {status}", TimeSpan.FromSeconds(10), () => shopper.GetAsync($"/api/v1/sales/{saleId}"),
                answer => answer.Status == 200 && answer.Member("status") == status);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        Manager?.Dispose();
        Provider?.Dispose();
        // Hosts end before their servers, so that their logs do not fill with complaints at the end.
        for (var i = _parts.Count - 1; i >= 0; i--) await _parts[i].DisposeAsync();
    }

    private Dictionary<string, string> PatientSettings()
    {
        // A busy test machine must not make a node give up lists and pages either, unless the test is about that.
        var settings = new Dictionary<string, string>(StringComparer.Ordinal) { ["Degradation__Ceiling"] = "0" };
        if (!Options.ProductionDeadlines) settings["Purchase__DeadlineMilliseconds"] = "3000";
        foreach (var name in Options.Settings.Keys) settings.Remove(name);
        return settings;
    }

    private T Add<T>(T part) where T : IAsyncDisposable
    {
        lock (_parts) _parts.Add(part);
        return part;
    }

    // The sandbox comes before the hosts, which must know its address. Its webhook address is known only after them.
    private void AddSandbox()
    {
        Sandbox = Add(new HostProcess("PaymentSandbox", _sandboxSettings));
        Provider = new Provider(() => Sandbox.Url, () => Api.Url);
    }

    private async Task StartRedisAsync()
    {
        Redis = Add(await RedisServer.StartNewAsync());
        if (Options.RedisByName) RedisName = Add(new Proxy(0, new IPEndPoint(IPAddress.Loopback, Redis.Port)));
    }

    private async Task StartDatabaseAsync()
    {
        if (Options.OwnPostgres) Postgres = Add(await PostgresServer.StartNewAsync());
        Database = await Database.CreateAsync(Postgres?.Url ?? TestEnvironment.Postgres);
        Add(Database);
    }

    private async Task StartBrokerAsync()
    {
        if (Options.OwnRabbitMq) RabbitMq = Add(await RabbitMqServer.StartNewAsync());
        Broker = Add(RabbitMq is null ? await Broker.CreateVirtualHostAsync() : Broker.Of(RabbitMq));
    }
}
