using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Opens, asks and ends connections of the client library. Its settings follow from measurements.</summary>
internal static class RedisClient
{
    private const int LongestDeadlineMilliseconds = 10_000;

    /// <summary>Connects to the one endpoint. It does not fail when Redis is away, but goes on trying.</summary>
    public static Task<ConnectionMultiplexer> OpenAsync(RedisOptions options)
    {
        var configuration = new ConfigurationOptions
        {
            EndPoints = { options.Endpoint },
            User = options.User,
            Password = options.Password,
            Ssl = options.Ssl,
            AbortOnConnectFail = false,
            ConnectTimeout = 1_000,
            ConnectRetry = 1,
            KeepAlive = 5,
            ReconnectRetryPolicy = new ExponentialRetry(100, 1_000),
            ClientName = "flashsale",
            Protocol = RedisProtocol.Resp2,
            // Without this the client refuses INFO, CONFIG and BGREWRITEAOF, and no sale could be verified.
            AllowAdmin = true,
            // A command that finds no connection fails at once. By default it would wait for one, and run long after
            // its caller has given up.
            BacklogPolicy = BacklogPolicy.FailFast,
            // CallAsync bounds every call. The client checks its own limits once a second. They only free calls that
            // CallAsync has given up.
            AsyncTimeout = ClientTimeout(options),
            SyncTimeout = ClientTimeout(options),
        };
        return ConnectionMultiplexer.ConnectAsync(configuration);
    }

    private static int ClientTimeout(RedisOptions options) => Math.Max(options.DeadlineMilliseconds, LongestDeadlineMilliseconds) * 2;

    /// <summary>The server behind the one endpoint.</summary>
    public static IServer ServerOf(ConnectionMultiplexer multiplexer) => multiplexer.GetServer(multiplexer.GetEndPoints()[0]);

    // Without the close the client would go on reconnecting while it is disposed.
    public static async Task EndAsync(ConnectionMultiplexer multiplexer)
    {
        try
        {
            await multiplexer.CloseAsync(allowCommandsToComplete: false);
        }
        catch (Exception e) when (RedisFailures.Translate(e) is not null)
        {
            // The connection was broken already.
        }
        await multiplexer.DisposeAsync();
    }

    // Both commands take one round trip. A replica answers TIME as the primary does, so only ROLE tells them apart.
    public static async Task<(long Milliseconds, bool IsPrimary)> AskAsync(ConnectionMultiplexer multiplexer)
    {
        var database = multiplexer.GetDatabase();
        var (role, time) = (database.ExecuteAsync("ROLE"), database.ExecuteAsync("TIME"));
        var isPrimary = await IsPrimaryAsync(role);
        var parts = (RedisResult[])(await time)!;
        return ((long)parts[0] * 1000 + (long)parts[1] / 1000, isPrimary);
    }

    // If the account may not ask for the role, the server is taken for the primary. A READONLY error tells later if it
    // is not.
    private static async Task<bool> IsPrimaryAsync(Task<RedisResult> role)
    {
        try
        {
            return (string?)((RedisResult[])(await role)!)[0] == "master";
        }
        catch (RedisServerException e) when (e.Message.StartsWith("NOPERM", StringComparison.Ordinal) || e.Message.StartsWith("ERR unknown command", StringComparison.Ordinal))
        {
            return true;
        }
    }
}
