using Dapper;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>Changes travel from Postgres to a node through any number of publishers, even late and twice.</summary>
public sealed class PublicationTests : IAsyncLifetime
{
    private static readonly Actor Tester = new("test", "operator");

    private RedisServer _server = null!;
    private RedisConnection _redis = null!;
    private Database _database = null!;
    private BlocklistStore _store = null!;
    private BlocklistPublisher _publisher = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await RedisServer.StartNewAsync();
        _redis = await RedisConnection.ConnectAsync(new RedisOptions { Endpoint = _server.Endpoint, DeadlineMilliseconds = 10_000 }, NullLogger<RedisConnection>.Instance);
        await Eventually.TrueAsync("Redis is healthy", TimeSpan.FromSeconds(10), () => _redis.IsHealthy);
        _database = await Database.CreateAsync(TestEnvironment.Postgres);
        DefaultTypeMap.MatchNamesWithUnderscores = true;
        await new Migrator(_database.Source, NullLogger<Migrator>.Instance).RunAsync(CancellationToken.None);
        _store = new BlocklistStore(_database.Source);
        _publisher = new BlocklistPublisher(_database.Source, _redis);
    }

    public async ValueTask DisposeAsync()
    {
        await _redis.DisposeAsync();
        await _server.DisposeAsync();
        await _database.DisposeAsync();
    }

    [Fact]
    public async Task Writers_and_publishers_at_once_leave_every_node_with_what_the_table_says()
    {
        await _publisher.KeepAsync(CancellationToken.None);
        await using var node = new Node(_redis, TimeProvider.System);
        var over = false;
        var publishers = Enumerable.Range(0, 3).Select(_ => Task.Run(async () =>
        {
            while (!Volatile.Read(ref over)) await _publisher.PublishAsync(Random.Shared.Next(1, 2_000), CancellationToken.None);
        })).ToArray();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(writer => Task.Run(async () =>
        {
            var random = new Random(writer);
            for (var i = 0; i < 150; i++)
            {
                var subject = User(random.Next(30));
                if (random.Next(3) == 0) await _store.RemoveAsync(subject, Tester, CancellationToken.None);
                else await _store.PutAsync(subject, "r", null, Tester, CancellationToken.None);
            }
        })));
        Volatile.Write(ref over, true);
        await Task.WhenAll(publishers);
        Assert.Equal(BlocklistState.Complete, await _publisher.PublishAsync(int.MaxValue, CancellationToken.None));
        await AgreesAsync(node, 30);
        // A node that starts now reads the same from the rest of the stream.
        await using var late = new Node(_redis, TimeProvider.System);
        await AgreesAsync(late, 30);
    }

    [Fact]
    public async Task Nothing_is_appended_to_a_stream_that_lost_what_comes_before_it()
    {
        var script = new RedisScript("Admission.blocklist_publish.lua");
        var body = new BlockChange(User(1).Key, BlockChange.NoEnd).Encode();
        Assert.Equal(-1, (long)await script.CallAsync(_redis, ["fs:blocklist"], [0, 7, body, ""]));
        await _publisher.KeepAsync(CancellationToken.None);
        Assert.Equal(7, (long)await script.CallAsync(_redis, ["fs:blocklist"], [0, 5, body, "", 7, body, ""]));
        // These publishers come late, twice, or with a part of the changes.
        Assert.Equal(7, (long)await script.CallAsync(_redis, ["fs:blocklist"], [0, 5, body, "", 7, body, ""]));
        Assert.Equal(7, (long)await script.CallAsync(_redis, ["fs:blocklist"], [5, 6, body, ""]));
        // This publisher wrongly believes that version 8 is there.
        Assert.Equal(7, (long)await script.CallAsync(_redis, ["fs:blocklist"], [8, 9, body, ""]));
        Assert.Equal(9, (long)await script.CallAsync(_redis, ["fs:blocklist"], [7, 8, body, "5", 9, body, ""]));
        Assert.Equal([7, 8, 9], await BlocklistStream.VersionsAsync(_server.Client));
    }

    [Fact]
    public async Task A_stream_is_there_as_a_whole_or_not_at_all()
    {
        await FillTableAsync(3_000);
        await Task.WhenAll(_publisher.KeepAsync(CancellationToken.None), _publisher.KeepAsync(CancellationToken.None), WatchAsync());
        Assert.Equal(await BlocklistStream.TableAsync(_database.Source), await BlocklistStream.VersionsAsync(_server.Client));
        Assert.Equal(-1, await _server.Client.NumberAsync("TTL", "fs:blocklist"));
        Assert.Single(await _server.Client.ListAsync("KEYS", "*"));

        async Task WatchAsync()
        {
            var length = 0L;
            await Eventually.TrueAsync("it is filled", TimeSpan.FromSeconds(20), async () => (length = await _server.Client.NumberAsync("XLEN", "fs:blocklist")) > 0);
            Assert.Equal(3_001, length);
        }
    }

    [Fact]
    public async Task What_ended_and_what_was_removed_leaves_the_table_and_the_stream()
    {
        await _publisher.KeepAsync(CancellationToken.None);
        for (var i = 0; i < 6; i++) await _store.PutAsync(User(i), "r", i == 3 ? TimeProvider.System.GetUtcNow().AddHours(1) : null, Tester, CancellationToken.None);
        await _publisher.KeepAsync(CancellationToken.None);
        // u0 changes twice between two publications. The publisher sees only the last change, so only the sweep removes
        // the entry from before the first one.
        for (var i = 0; i < 2; i++) await _store.PutAsync(User(0), "again", null, Tester, CancellationToken.None);
        foreach (var i in (int[])[1, 2, 5]) await _store.RemoveAsync(User(i), Tester, CancellationToken.None);
        await _publisher.KeepAsync(CancellationToken.None);
        Assert.Equal(7, (await BlocklistStream.VersionsAsync(_server.Client)).Count);
        await ScalarAsync<int>("update blocked_subject set changed_at = now() - interval '25 h' where value in ('u1', 'u5'); update blocked_subject set until = now() - interval '2 h' where value = 'u3'; select 1");
        // u5 has the highest version, which stays.
        Assert.Equal((2, 3L), await _publisher.PruneAsync(CancellationToken.None));
        Assert.Equal(await BlocklistStream.TableAsync(_database.Source), await BlocklistStream.VersionsAsync(_server.Client));
        Assert.Equal(["u0", "u2", "u4", "u5"], await ColumnAsync("select value from blocked_subject order by value"));
        await using var node = new Node(_redis, TimeProvider.System);
        await AgreesAsync(node, 6);
    }

    [Fact]
    public async Task A_node_that_was_away_for_more_than_an_hour_reads_everything()
    {
        for (var i = 0; i < 3; i++) await _store.PutAsync(User(i), "r", null, Tester, CancellationToken.None);
        await _publisher.KeepAsync(CancellationToken.None);
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        await using var node = new Node(_redis, clock);
        await AgreesAsync(node, 3);
        // To the node, the entry was removed and its removal was pruned while the node could not read.
        var first = (await BlocklistStream.VersionsAsync(_server.Client))[0];
        await _server.Client.CallAsync("XDEL", "fs:blocklist", $"{first}-0");
        await _store.PutAsync(User(7), "r", null, Tester, CancellationToken.None);
        await _publisher.KeepAsync(CancellationToken.None);
        await Eventually.TrueAsync("the node has looked", TimeSpan.FromSeconds(5), () => node.Blocks(User(7)));
        Assert.True(node.Blocks(User(0)));
        clock.Advance(TimeSpan.FromMinutes(61));
        await Eventually.TrueAsync("the node has read all of it", TimeSpan.FromSeconds(5), () => !node.Blocks(User(0)));
        Assert.True(node.Blocks(User(1)) && node.Blocks(User(2)) && node.Blocks(User(7)));
    }

    [Fact]
    public async Task Versions_rise_by_the_clock_and_never_fall()
    {
        var (entry, _) = await _store.PutAsync(User(0), "r", null, Tester, CancellationToken.None);
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1_000;
        Assert.InRange(entry.Version, now - 60_000_000, now + 1_000_000);
        // Shift the versions as if the clock had been ahead by a day.
        await ScalarAsync<int>("update blocked_subject set version = version + 86400000000; select 1");
        var (next, _) = await _store.PutAsync(User(1), "r", null, Tester, CancellationToken.None);
        Assert.Equal(entry.Version + 86_400_000_001, next.Version);
    }

    private static BlockedSubject User(int number) => BlockedSubject.TryRead(BlockedKind.User, $"u{number}", out var subject, out _) ? subject : throw new InvalidOperationException();

    private async Task FillTableAsync(int users)
    {
        await using var import = await BlocklistImport.BeginAsync(_database.Source, CancellationToken.None);
        for (var i = 0; i < users; i++) await import.AddAsync(i, new BlockDraft(User(i), "r", null), CancellationToken.None);
        Assert.Empty(await import.EndAsync(1, CancellationToken.None));
        Assert.Equal(users, await import.TakeOverAsync(Tester, CancellationToken.None));
    }

    private async Task AgreesAsync(Node node, int users)
    {
        var standing = (await ColumnAsync("select value from blocked_subject where not removed and (until is null or until > now())")).ToHashSet();
        await Eventually.TrueAsync("the node agrees with the table", TimeSpan.FromSeconds(5), () => Enumerable.Range(0, users).All(i => node.Blocks(User(i)) == standing.Contains($"u{i}")));
    }

    private async Task<T> ScalarAsync<T>(string sql)
    {
        await using var connection = await _database.Source.OpenConnectionAsync();
        return (await connection.ExecuteScalarAsync<T>(sql))!;
    }

    private async Task<IReadOnlyList<string>> ColumnAsync(string sql)
    {
        await using var connection = await _database.Source.OpenConnectionAsync();
        return (await connection.QueryAsync<string>(sql)).AsList();
    }

    // Runs the blocklist feed of an Api node without the node.
    private sealed class Node : IAsyncDisposable
    {
        private readonly BlocklistFeed _feed;

        public Node(RedisConnection redis, TimeProvider time)
        {
            _feed = new BlocklistFeed(redis, time, NullLogger<BlocklistFeed>.Instance);
            Started = _feed.StartAsync(CancellationToken.None);
        }

        private Task Started { get; }

        public bool Blocks(BlockedSubject user) => _feed.Blocks(Fingerprints.OfUser(user.Value), 0, null);

        public async ValueTask DisposeAsync()
        {
            await Started;
            await _feed.StopAsync(CancellationToken.None);
            _feed.Dispose();
        }
    }
}
