using System.Net;
using FlashSale.LoadTests.Faults;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>What a test class needs to run.</summary>
public sealed record StackOptions
{
    /// <summary>Api nodes.</summary>
    public int Apis { get; init; } = 1;

    /// <summary>Workers.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>Whether Postgres will be taken down.</summary>
    public bool OwnPostgres { get; init; }

    /// <summary>Whether RabbitMQ will be taken down.</summary>
    public bool OwnRabbitMq { get; init; }

    /// <summary>Whether a payment provider is there. Without, the hosts know the address of one that does not answer.</summary>
    public bool Payments { get; init; }

    /// <summary>
    /// Whether purchases wait for Redis as long as they do in production. Where time is not the subject they wait longer:
    /// a busy test machine that stalls for 200 ms is no fault of Redis, and must not look like one.
    /// </summary>
    public bool ProductionDeadlines { get; init; }

    /// <summary>Whether the hosts reach Redis by a name that can be moved to another server.</summary>
    public bool RedisByName { get; init; }

    /// <summary>Further settings of all hosts.</summary>
    public Dictionary<string, string> Settings { get; init; } = [];
}

/// <summary>The whole product on real servers, with a database, a virtual host and a Redis that nobody else uses.</summary>
public sealed class Stack : IAsyncDisposable
{
    /// <summary>What tickets and challenges are signed with.</summary>
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

    /// <summary>The Postgres server, where it is the stack's own.</summary>
    public PostgresServer? Postgres { get; private set; }

    /// <summary>The RabbitMQ node, where it is the stack's own.</summary>
    public RabbitMqServer? RabbitMq { get; private set; }

    public HostProcess Admin { get; private set; } = null!;

    public IReadOnlyList<HostProcess> Apis { get; private set; } = [];

    public IReadOnlyList<HostProcess> Workers { get; private set; } = [];

    public HostProcess Api => Apis[0];

    public HostProcess Worker => Workers[0];

    /// <summary>The sandbox of a payment provider; it runs where the options ask for it.</summary>
    public HostProcess Sandbox { get; private set; } = null!;

    /// <summary>The merchant's and the shopper's view of that provider.</summary>
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
            // All at once: whoever is first migrates.
            await Task.WhenAll(stack.Hosts.Select(host => host.StartAsync()));
            return stack;
        }
        catch
        {
            await stack.DisposeAsync();
            throw;
        }
    }

    /// <summary>Another host on the same servers; the stack ends it.</summary>
    public HostProcess AddHost(string host)
    {
        var process = new HostProcess(host, Settings());
        lock (_parts) _parts.Add(process);
        return process;
    }

    /// <summary>What every host is configured with.</summary>
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
    /// Stops all workers, at a moment when none of them holds a sale alone, or is about to, as it does now and then to compare its books: as long as it
    /// were stopped, others could move no order of that sale.
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
    /// A failover of Redis behind its name: a replica that has caught up is promoted, the name leads to it, and the old primary goes on as its replica.
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

    /// <summary>Makes a sale, loads and opens it, and waits until every node sells it.</summary>
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

    /// <summary>A sale that requires tickets, loaded and open on every node.</summary>
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
    /// Waits until every node sells a sale again, without buying: whoever asks for more than a user may have is told so
    /// only when the sale is loaded, verified and open.
    /// </summary>
    /// <returns>How long the slowest node took.</returns>
    public async Task<TimeSpan> SellsOnEveryNodeAsync(Sale sale)
    {
        var tooMany = sale.Items[0].PerUserLimit + 1;
        var took = await Task.WhenAll(Enumerable.Range(0, Apis.Count).Select(node =>
            Eventually.TrueAsync($"node {node} sells {sale.Id}", TimeSpan.FromSeconds(30), async () =>
                (await Shopper($"probe-{Guid.NewGuid():N}", node).PurchaseAsync(sale.Id, $$"""{"sku":"{{sale.Sku}}","quantity":{{tooMany}}}""", "probe")).Code == "purchase_limit_reached")));
        return took.Max();
    }

    /// <summary>Starts the stack's own Postgres again and waits until connections that broke with it are out of everyone's way.</summary>
    public async Task StartPostgresAsync()
    {
        await Postgres!.StartAsync();
        Database.Source.Clear();
        await Eventually.GetAsync("the Admin host reaches Postgres again", TimeSpan.FromSeconds(20), () => Manager.GetAsync("/api/v1/sales"), answer => answer.Status == 200);
    }

    /// <summary>Lets a standby take the place of the stack's own Postgres, and waits until everyone reaches it.</summary>
    public async Task FailOverPostgresAsync(PostgresServer standby)
    {
        await Postgres!.FailOverAsync(standby);
        Database.Source.Clear();
        await Eventually.GetAsync("the Admin host reaches Postgres again", TimeSpan.FromSeconds(20), () => Manager.GetAsync("/api/v1/sales"), answer => answer.Status == 200);
    }

    /// <summary>Sells until the orders lie in the broker and in nobody's hands: neither in Postgres nor with a worker. The workers are dead then.</summary>
    public async Task SellIntoBrokerAsync(Sale sale, int users, string prefix = "in-broker")
    {
        await using var tap = await MessageTap.OpenAsync(Broker);
        await using var orders = await TableLock.OfOrdersAsync(Database);
        await Crowd.AllBuyAsync(this, sale, users, prefix);
        await Eventually.TrueAsync($"{users} orders have been handed to the broker", TimeSpan.FromSeconds(20), async () => await tap.ReservationsAsync() >= users);
        await Task.WhenAll(Workers.Select(worker => worker.KillAsync()));
        // Sessions of the dead still wait for the lock; with them gone nothing is stored when it is released.
        await Database.EndOtherSessionsAsync();
    }

    /// <summary>Waits until every node shows a sale with that status.</summary>
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
        // The hosts before their servers, so that none spends its last moments on complaints.
        for (var i = _parts.Count - 1; i >= 0; i--) await _parts[i].DisposeAsync();
    }

    private Dictionary<string, string> PatientSettings()
    {
        // Nor must a busy test machine make a node give up lists and pages, where that is not the subject.
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

    // Before the hosts, which must know its address; where it sends its notices is known only after them.
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
