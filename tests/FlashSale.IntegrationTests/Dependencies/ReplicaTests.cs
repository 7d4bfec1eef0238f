using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Dependencies;

/// <summary>
/// A primary and a stand-in for its replica: another server with the same schema and only the rows that a test gives
/// it.
/// </summary>
public sealed class WithReplica() : StackFixture(new StackOptions { OwnPostgres = true })
{
    public PostgresServer ReplicaServer { get; private set; } = null!;

    public Database Replica { get; private set; } = null!;

    /// <summary>A node that reads orders from the replica.</summary>
    public HostProcess Api { get; private set; } = null!;

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        ReplicaServer = await PostgresServer.StartNewAsync();
        Replica = await Database.CreateAsync(ReplicaServer.Url);
        await using (var migrates = new HostProcess("Admin", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Postgres__Url"] = Replica.Url })) await migrates.StartAsync();
        Api = new HostProcess("Api", new Dictionary<string, string>(Stack.Settings(), StringComparer.Ordinal) { ["Postgres__ReplicaUrl"] = Replica.Url });
        await Api.StartAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        if (Api is not null) await Api.DisposeAsync();
        if (Replica is not null) await Replica.DisposeAsync();
        if (ReplicaServer is not null) await ReplicaServer.DisposeAsync();
        await base.DisposeAsync();
    }
}

/// <summary>A node reads orders from the replica, and from the primary where the replica lacks them.</summary>
public sealed class ReplicaTests(WithReplica fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<WithReplica>
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromSeconds(30) };
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task What_the_replica_has_is_read_there_and_what_it_lacks_from_the_primary()
    {
        var (there, missing) = (await OrderAsync("there"), await OrderAsync("missing"));
        await ReplicateAsync(there, "as the replica has it");
        // A node whose replica takes longer than 100 ms to tell its lag, as at the first look on a busy machine, reads the primary.
        await Eventually.GetAsync("the replica's order is read", Deadline, () => Shopper("there").OrderAsync(there), answer => answer.Member("reason") == "as the replica has it");
        await Eventually.GetAsync("the replica's list is read", Deadline, () => Shopper("there").MyOrdersAsync(),
            answer => Assert.Single(answer.Json.GetProperty("orders").EnumerateArray()).GetProperty("reason").GetString() == "as the replica has it");
        var found = await Shopper("missing").OrderAsync(missing);
        Assert.Equal((200, "pending_payment"), (found.Status, found.Member("status")));
        Refusal.AssertIs(404, "order_not_found", await Shopper("missing").OrderAsync(Near(missing)));
        // The primary makes the change and answers.
        var cancelled = await Shopper("there").CancelAsync(there);
        Assert.Equal((200, "cancelled"), (cancelled.Status, cancelled.Member("status")));
    }

    [Fact]
    public async Task With_the_replica_away_the_primary_answers()
    {
        var order = await OrderAsync("reader");
        await ReplicateAsync(order, "as the replica has it");
        await fixture.ReplicaServer.StopAsync();
        for (var i = 0; i < 20; i++)
        {
            var answer = await Shopper("reader").OrderAsync(order);
            Assert.True(answer.Status == 200 && answer.Member("reason") == "", $"{answer}");
            Assert.Equal(200, (await Shopper("reader").MyOrdersAsync()).Status);
        }
        Assert.Contains("dependency postgres-replica: failed too often", (await Figures.ReadyAsync(fixture.Api)).Text);
        Refusal.AssertIs(404, "order_not_found", await Shopper("reader").OrderAsync(Near(order)));
        await fixture.ReplicaServer.StartAsync();
        await Eventually.GetAsync("the replica is read again", Deadline, () => Shopper("reader").OrderAsync(order), answer => answer.Status == 200 && answer.Member("reason") == "as the replica has it");
    }

    [Fact]
    public async Task With_the_primary_away_the_replica_answers_and_what_it_lacks_is_not_denied()
    {
        var (there, missing) = (await OrderAsync("there"), await OrderAsync("missing"));
        await ReplicateAsync(there, "as the replica has it");
        await Stack.Postgres!.StopAsync();
        Assert.Equal(200, (await Shopper("there").OrderAsync(there)).Status);
        Assert.Equal(200, (await Shopper("there").MyOrdersAsync()).Status);
        Refusal.AssertIs(503, "temporarily_unavailable", await Shopper("missing").OrderAsync(missing));
        Refusal.AssertIs(503, "temporarily_unavailable", await Shopper("missing").OrderAsync(Near(missing)));
        await Stack.StartPostgresAsync();
        await Eventually.GetAsync("the primary answers again", Deadline, () => Shopper("missing").OrderAsync(missing), answer => answer.Status == 200);
    }

    private static Guid Near(Guid order)
    {
        var bytes = order.ToByteArray(bigEndian: true);
        bytes[15] ^= 1;
        return new Guid(bytes, bigEndian: true);
    }

    private Shopper Shopper(string user) => new(Http, () => fixture.Api.Url, user + _suffix);

    private readonly string _suffix = $"-{Guid.NewGuid():N}";

    private async Task<Guid> OrderAsync(string user)
    {
        var sale = await Stack.OpenSaleAsync(stock: 10);
        var order = (await Stack.Shopper(user + _suffix).BuyAsync(sale)).OrderId;
        await Books.CheckAsync(Stack, sale);
        return order;
    }

    private async Task ReplicateAsync(Guid order, string reason)
    {
        await using var primary = await Stack.Database.Source.OpenConnectionAsync();
        var row = await primary.ExecuteScalarAsync<string>("select to_jsonb(o)::text from orders o where order_id = @order", new { order });
        await using var replica = new NpgsqlConnection(Database.ConnectionString(fixture.Replica.Url, pooling: false));
        await replica.OpenAsync();
        // Replication checks no foreign keys either.
        await replica.ExecuteAsync("set session_replication_role = replica");
        await replica.ExecuteAsync("insert into orders select * from jsonb_populate_record(null::orders, @row::jsonb || jsonb_build_object('reason', @reason))", new { row, reason });
    }
}
