namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Other tests kill, freeze and cut these servers, and rely on the behaviour that is shown here.</summary>
public sealed class ServersTests
{
    [Fact]
    public async Task A_killed_redis_comes_back_with_every_acknowledged_write()
    {
        await using var redis = await RedisServer.StartNewAsync();
        await redis.Client.CallAsync("HSET", "h", "a", 1);
        await redis.RestartAsync();
        Assert.Equal(1, (await redis.Client.NumbersAsync("h"))["a"]);
    }

    [Fact]
    public async Task A_redis_whose_file_is_cut_forgets_what_lay_behind_the_cut_and_nothing_else()
    {
        await using var redis = await RedisServer.StartNewAsync();
        await redis.Client.CallAsync("SET", "before", 1);
        var length = redis.FileLength();
        await redis.Client.CallAsync("SET", "after", 1);
        await redis.KillAsync();
        redis.CutFile(length);
        await redis.StartAsync();
        Assert.Equal(1, await redis.Client.NumberAsync("GET", "before"));
        Assert.Null(await redis.Client.CallAsync("GET", "after"));
    }

    [Fact]
    public async Task A_wiped_redis_comes_back_empty()
    {
        await using var redis = await RedisServer.StartNewAsync();
        await redis.Client.CallAsync("SET", "a", 1);
        await redis.KillAsync();
        redis.WipeFiles();
        await redis.StartAsync();
        Assert.Equal(0, await redis.Client.NumberAsync("DBSIZE"));
    }

    [Fact]
    public async Task A_digest_sees_a_change_of_one_field()
    {
        await using var redis = await RedisServer.StartNewAsync();
        await redis.Client.CallAsync("HSET", "fs:{s}:stock", "a", 1);
        var before = await redis.DigestAsync("fs:{s}:");
        Assert.Single(before);
        Assert.Equal(before, await redis.DigestAsync("fs:{s}:"));
        await redis.Client.CallAsync("HSET", "fs:{s}:stock", "a", 2);
        Assert.NotEqual(before, await redis.DigestAsync("fs:{s}:"));
    }

    [Fact]
    public async Task A_postgres_of_its_own_can_be_killed_and_started_again()
    {
        await using var postgres = await PostgresServer.StartNewAsync();
        var database = await Database.CreateAsync(postgres.Url);
        await postgres.KillAsync();
        await postgres.StartAsync();
        await database.DisposeAsync();
    }

    [Fact]
    public async Task A_rabbitmq_of_its_own_can_be_killed_and_started_again()
    {
        await using var rabbitMq = await RabbitMqServer.StartNewAsync();
        await rabbitMq.KillAsync();
        await rabbitMq.StartAsync();
        await using var broker = Broker.Of(rabbitMq);
        Assert.Empty(await broker.MessagesAsync());
        await using var connection = await broker.ConnectAsync();
        Assert.True(connection.IsOpen);
    }

    [Fact]
    public async Task A_virtual_host_of_its_own_takes_connections()
    {
        await using var broker = await Broker.CreateVirtualHostAsync();
        await using var connection = await broker.ConnectAsync();
        Assert.True(connection.IsOpen);
    }
}
