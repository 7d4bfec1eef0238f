using Dapper;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>
/// If a process dies, a store is away or a store forgets, blocked shoppers stay blocked and nobody else is blocked.
/// </summary>
public sealed class BlocklistFaultTests(TwoNodesOnOwnPostgres fixture, ITestOutputHelper output) : BlocklistTest(fixture, output), IClassFixture<TwoNodesOnOwnPostgres>
{
    private const string Stream = "fs:blocklist";

    [Fact]
    public async Task With_redis_away_the_blocked_stay_blocked_and_a_change_takes_effect_when_it_is_back()
    {
        await BlockedAsync("away-1");
        Stack.Redis.Freeze();
        try
        {
            foreach (var node in (int[])[0, 1])
            {
                Refusal.AssertIs(403, "user_blocked", await AskAsync(node, "away-1"));
                Assert.Equal(503, (await AskAsync(node, "away-2")).Status);
            }
            var recorded = Refusal.AssertIs(503, "temporarily_unavailable", await BlockAsync("user", "away-2"));
            Assert.Contains("recorded", recorded.Text);
            Refusal.AssertIs(503, "temporarily_unavailable", await UnblockAsync("user", "away-1"));
        }
        finally
        {
            Stack.Redis.Thaw();
        }
        // Nobody repeats a request.
        await Eventually.TrueAsync("both changes are known", Patience, async () =>
            (await AskAsync(0, "away-2")).Code == "user_blocked" && (await AskAsync(1, "away-2")).Code == "user_blocked"
            && (await AskAsync(0, "away-1")).Code == "purchase_limit_reached" && (await AskAsync(1, "away-1")).Code == "purchase_limit_reached");
    }

    [Fact]
    public async Task A_redis_that_lost_everything_is_filled_again_and_nobody_is_let_in_meanwhile()
    {
        Manager.Expect(200, await ImportAsync(string.Concat(Enumerable.Range(0, 20_000).Select(i => $"user,wiped-{i},r,\n"))));
        await EveryNodeAsync(blocks: true, "wiped-19999", within: Patience);
        Assert.Equal(204, (await UnblockAsync("user", "wiped-0")).Status);
        await EveryNodeAsync(blocks: false, "wiped-0");
        var generation = await GenerationAsync();
        await Stack.Redis.Client.CallAsync("FLUSHALL");
        // A node that starts now must not be ready before it has read the whole list.
        await Stack.Apis[1].KillAsync();
        await Stack.Apis[1].LaunchAsync();
        await Eventually.TrueAsync("the stream is filled", Patience, async () =>
        {
            Assert.Equal("user_blocked", (await AskAsync(0, "wiped-19999")).Code);
            return await GenerationAsync() is { } now && now != generation;
        });
        await Stack.Apis[1].ReadyAsync(Patience);
        foreach (var node in (int[])[0, 1])
        {
            foreach (var user in (string[])["wiped-1", "wiped-10000", "wiped-19999"]) Refusal.AssertIs(403, "user_blocked", await AskAsync(node, user));
        }
        // New changes reach both nodes.
        await Stack.SellsOnEveryNodeAsync(Sale);
        Assert.Equal(204, (await UnblockAsync("user", "wiped-1")).Status);
        await EveryNodeAsync(blocks: false, "wiped-1");
        await AssertNowAsync(blocked: false, "wiped-0", "wiped-20000");
        await AssertStreamIsTableAsync();
    }

    [Fact]
    public async Task A_redis_that_lost_its_tail_gets_it_again()
    {
        await BlockedAsync("tail-0");
        var cut = Stack.Redis.FileLength();
        for (var i = 1; i <= 20; i++) Assert.Equal(201, (await BlockAsync("user", $"tail-{i}")).Status);
        Assert.Equal(204, (await UnblockAsync("user", "tail-0")).Status);
        await Stack.Redis.KillAsync();
        Stack.Redis.CutFile(cut);
        await Stack.Redis.StartAsync();
        await Eventually.TrueAsync("the stream has its end again", Patience, StreamIsTableAsync);
        await Stack.SellsOnEveryNodeAsync(Sale);
        await Stack.Apis[1].RestartAsync();
        await AssertNowAsync(blocked: true, [.. Enumerable.Range(1, 20).Select(i => $"tail-{i}")]);
        await AssertNowAsync(blocked: false, "tail-0");
    }

    [Fact]
    public async Task With_postgres_away_a_node_starts_and_blocks()
    {
        await BlockedAsync("no-postgres");
        await Stack.Postgres!.KillAsync();
        try
        {
            await Stack.Apis[1].RestartAsync();
            await AssertNowAsync(blocked: true, "no-postgres");
            await AssertNowAsync(blocked: false, "no-postgres-2");
        }
        finally
        {
            await Stack.StartPostgresAsync();
        }
    }

    [Fact]
    public async Task With_redis_away_at_its_start_a_node_is_not_ready_before_it_has_read_the_list()
    {
        await BlockedAsync("no-redis");
        await Stack.Apis[1].KillAsync();
        await Stack.Worker.KillAsync();
        // Everything but the list is there. A node that was ready now would serve blocked shoppers.
        var kept = await Stack.Redis.Client.CallAsync("DUMP", Stream);
        await Stack.Redis.Client.CallAsync("DEL", Stream);
        await Stack.Apis[1].LaunchAsync();
        using var http = new HttpClient();
        var ready = new Uri(Stack.Apis[1].ManagementUrl, "/health/ready");
        await Eventually.TrueAsync("only the blocklist is missing", Patience, async () => (await TextAsync()).StartsWith("blocklist: not read yet\nredis: answers\n", StringComparison.Ordinal));
        await Stack.Redis.Client.CallAsync("RESTORE", Stream, 0, kept!);
        await Stack.Apis[1].ReadyAsync(Patience);
        await AssertNowAsync(blocked: true, "no-redis");
        await Stack.Worker.StartAsync();

        async Task<string> TextAsync()
        {
            try
            {
                using var answer = await http.GetAsync(ready);
                return await answer.Content.ReadAsStringAsync();
            }
            catch (HttpRequestException e)
            {
                return e.Message;
            }
        }
    }

    [Fact]
    public async Task What_an_admin_host_recorded_before_it_died_is_published_by_the_worker()
    {
        Stack.Redis.Freeze();
        var asked = BlockAsync("user", "orphan");
        await Eventually.TrueAsync("the change is recorded", Patience, async () => await CountAsync("value = 'orphan'") == 1);
        await Stack.Admin.KillAsync();
        Stack.Redis.Thaw();
        Assert.Equal(0, (await asked).Status);
        await Stack.SellsOnEveryNodeAsync(Sale);
        await EveryNodeAsync(blocks: true, "orphan");
        await Stack.Admin.StartAsync();
        Assert.Equal(200, (await BlockAsync("user", "orphan")).Status);
    }

    [Fact]
    public async Task A_postgres_that_was_restored_is_right()
    {
        await BlockedAsync("in-backup");
        await BlockedAsync("removed-since");
        await Stack.Postgres!.StopAsync();
        await Stack.Postgres.BackUpAsync();
        await Stack.StartPostgresAsync();
        await BlockedAsync("after-backup");
        Assert.Equal(204, (await UnblockAsync("user", "removed-since")).Status);
        await EveryNodeAsync(blocks: false, "removed-since");
        await Stack.Postgres.StopAsync();
        await Stack.Postgres.RestoreAsync();
        await Stack.StartPostgresAsync();
        // A restored Postgres holds every sale until it is rebuilt, so only the error codes tell blocked shoppers
        // apart.
        await Eventually.TrueAsync("the nodes know what the restored Postgres knows", Patience, async () =>
            (await AskAsync(0, "after-backup")).Code != "user_blocked" && (await AskAsync(1, "after-backup")).Code != "user_blocked"
            && (await AskAsync(0, "removed-since")).Code == "user_blocked" && (await AskAsync(1, "removed-since")).Code == "user_blocked");
        foreach (var node in (int[])[0, 1]) Refusal.AssertIs(403, "user_blocked", await AskAsync(node, "in-backup"));
        Assert.Equal(201, (await BlockAsync("user", "after-backup")).Status);
        await Eventually.TrueAsync("a change after that is known", Promise, async () => (await AskAsync(0, "after-backup")).Code == "user_blocked" && (await AskAsync(1, "after-backup")).Code == "user_blocked");
        await AssertStreamIsTableAsync();
    }

    private async Task BlockedAsync(string user)
    {
        Assert.Equal(201, (await BlockAsync("user", user)).Status);
        await Eventually.TrueAsync($"{user} is blocked", Promise, async () => (await AskAsync(0, user)).Code == "user_blocked" && (await AskAsync(1, user)).Code == "user_blocked");
    }

    private async Task<long> CountAsync(string where)
    {
        await using var connection = await Stack.Database.Source.OpenConnectionAsync();
        return await connection.ExecuteScalarAsync<long>($"select count(*) from blocked_subject where {where}");
    }

    private async Task<string?> GenerationAsync() => await BlocklistStream.GenerationAsync(Stack.Redis.Client);

    private async Task<bool> StreamIsTableAsync() => (await BlocklistStream.VersionsAsync(Stack.Redis.Client)).SequenceEqual(await BlocklistStream.TableAsync(Stack.Database.Source));

    private async Task AssertStreamIsTableAsync() =>
        Assert.Equal(await BlocklistStream.TableAsync(Stack.Database.Source), await BlocklistStream.VersionsAsync(Stack.Redis.Client));
}
