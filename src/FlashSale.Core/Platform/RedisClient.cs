using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Opens, asks and ends connections of the client library, with the settings that measurements asked for.</summary>
internal static class RedisClient
{
    private const int LongestDeadlineMilliseconds = 10_000;

    /// <summary>Connects to the one endpoint; does not fail when Redis is away, but goes on trying.</summary>
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
            // Without it the client refuses INFO, CONFIG and BGREWRITEAOF, and no sale could be verified.
            AllowAdmin = true,
            // A command that finds no connection fails. By default it would wait for one and run long after its caller has given up.
            BacklogPolicy = BacklogPolicy.FailFast,
            // CallAsync bounds every call. The client's own limits, looked at once a second, only free what CallAsync has given up.
            AsyncTimeout = ClientTimeout(options),
            SyncTimeout = ClientTimeout(options),
        };
        return ConnectionMultiplexer.ConnectAsync(configuration);
    }

    private static int ClientTimeout(RedisOptions options) => Math.Max(options.DeadlineMilliseconds, LongestDeadlineMilliseconds) * 2;

    /// <summary>The server behind the one endpoint.</summary>
    public static IServer ServerOf(ConnectionMultiplexer multiplexer) => multiplexer.GetServer(multiplexer.GetEndPoints()[0]);

    // Without the close the client would go on reconnecting what is being disposed.
    public static async Task EndAsync(ConnectionMultiplexer multiplexer)
    {
        try
        {
            await multiplexer.CloseAsync(allowCommandsToComplete: false);
        }
        catch (Exception e) when (RedisFailures.Translate(e) is not null)
        {
            // It was broken already.
        }
        await multiplexer.DisposeAsync();
    }

    // In one round trip: a replica answers TIME as the primary does, so only ROLE tells them apart.
    public static async Task<(long Milliseconds, bool IsPrimary)> AskAsync(ConnectionMultiplexer multiplexer)
    {
        var database = multiplexer.GetDatabase();
        var (role, time) = (database.ExecuteAsync("ROLE"), database.ExecuteAsync("TIME"));
        var isPrimary = await IsPrimaryAsync(role);
        var parts = (RedisResult[])(await time)!;
        return ((long)parts[0] * 1000 + (long)parts[1] / 1000, isPrimary);
    }

    // An account that may not ask for the role finds out by READONLY.
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
