using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>
/// The one connection of a process to the primary, and everything that depends on the version of the client library.
/// The library does not notice a frozen server or a half-open socket for many seconds. So every call has a deadline,
/// and a watchdog pings and replaces the connection after three misses. The ping asks for the server's role too. After
/// a failover the old primary answers on, as a replica. The connection to it is then replaced by one to the server that
/// the endpoint's name leads to now, and no command runs on a replica meanwhile. The same ping tells the time of Redis
/// to <see cref="RedisClock"/>.
/// </summary>
public sealed partial class RedisConnection : IAsyncDisposable
{
    private const int MissesUntilReplaced = 3;
    private const int RefusalToldEveryMilliseconds = 10_000;
    private const int ReplicaReplacedEveryMilliseconds = 500;

    private static readonly TimeSpan LongDeadline = TimeSpan.FromSeconds(10);

    private readonly RedisOptions _options;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watchdog;
    private readonly RedisClock _clock = new(TimeProvider.System);
    private volatile ConnectionMultiplexer _multiplexer;
    private int _misses;
    private int _longCalls;
    private int _replacing;
    private volatile bool _onReplica;
    private long _replicaReplacedAt = Environment.TickCount64 - ReplicaReplacedEveryMilliseconds;
    private long _silentSinceTicks;
    private long _refusalToldAt = Environment.TickCount64 - RefusalToldEveryMilliseconds;

    private RedisConnection(RedisOptions options, ConnectionMultiplexer multiplexer, ILogger logger)
    {
        _options = options;
        _multiplexer = multiplexer;
        _logger = logger;
        _watchdog = Task.Run(WatchAsync);
    }

    /// <summary>Raised after the connection was replaced. Subscriptions of the old connection are gone.</summary>
    public event Action? Replaced;

    /// <summary>Whether a primary answered the latest ping.</summary>
    public bool IsHealthy => _clock.HasSample && Volatile.Read(ref _misses) == 0 && !_onReplica;

    /// <summary>
    /// Time of the first ping that went unanswered in this silence. It is null while pings are answered.
    /// </summary>
    public DateTimeOffset? SilentSince => Interlocked.Read(ref _silentSinceTicks) is var ticks and not 0 ? new DateTimeOffset(ticks, TimeSpan.Zero) : null;

    /// <summary>Whether a primary has answered a ping at least once.</summary>
    public bool HasAnswered => _clock.HasSample;

    /// <summary>
    /// Redis TIME as this process knows it, Unix milliseconds. It is never ahead of Redis, and behind it by at most a
    /// round trip.
    /// </summary>
    public long NowMilliseconds => _clock.NowMilliseconds;

    /// <summary>The longest a call other than a purchase may take.</summary>
    public TimeSpan Deadline => TimeSpan.FromMilliseconds(_options.DeadlineMilliseconds);

    /// <summary>Connects to Redis. It does not fail when Redis is away, but goes on trying.</summary>
    public static async Task<RedisConnection> ConnectAsync(RedisOptions options, ILogger<RedisConnection> logger) =>
        new(options, await RedisClient.OpenAsync(options), logger);

    /// <summary>
    /// Removes keys. Redis frees their memory beside the commands of others, while DEL would keep those waiting. The
    /// exceptions are those of <see cref="CallAsync"/>. The call may be repeated.
    /// </summary>
    public Task UnlinkAsync(IEnumerable<RedisKey> keys) => CallAsync(database => database.KeyDeleteAsync([.. keys]));

    /// <summary>Runs one command on the current connection.</summary>
    /// <exception cref="RedisUnavailableException">The command did not run.</exception>
    /// <exception cref="RedisOutcomeUnknownException">The command may have run.</exception>
    /// <exception cref="RedisServerException">Redis refused the command with an error of its own.</exception>
    public Task<T> CallAsync<T>(Func<IDatabase, Task<T>> call, TimeSpan? deadline = null) => _onReplica
        ? Task.FromException<T>(new RedisUnavailableException($"{_options.Endpoint} leads to a replica."))
        : RunAsync(_multiplexer, static (multiplexer, call) => call(multiplexer.GetDatabase()), call, deadline ?? Deadline);

    /// <summary>
    /// Runs one command that carries megabytes or goes over a hundred thousand items, for up to 10 s. Such a command
    /// lets no ping through for longer than the watchdog waits. If the watchdog replaced the connection for that, the
    /// command would fail, and fail again each time it is repeated. So the watchdog keeps the connection while the
    /// command runs. The exceptions are those of <see cref="CallAsync"/>.
    /// </summary>
    public async Task<T> CallLongAsync<T>(Func<IDatabase, Task<T>> call)
    {
        Interlocked.Increment(ref _longCalls);
        try
        {
            return await CallAsync(call, LongDeadline);
        }
        finally
        {
            Interlocked.Decrement(ref _longCalls);
        }
    }

    /// <summary>
    /// Runs one command about the server itself. The exceptions are those of <see cref="CallAsync"/>.
    /// </summary>
    public Task<T> AskServerAsync<T>(Func<IServer, Task<T>> call) =>
        RunAsync(_multiplexer, static (multiplexer, call) => call(RedisClient.ServerOf(multiplexer)), call, Deadline);

    /// <summary>Replaces the connection after an answer that belonged to another question.</summary>
    public void Distrust()
    {
        LogDistrusted(_options.Endpoint);
        _ = ReplaceAsync();
    }

    /// <summary>
    /// Subscribes to a channel. Messages may be lost, so a subscription is a hint and never a source of truth.
    /// </summary>
    public async Task SubscribeAsync(string channel, Action<byte[]> handler)
    {
        try
        {
            await _multiplexer.GetSubscriber().SubscribeAsync(RedisChannel.Literal(channel), (_, message) => handler(message!)).WaitAsync(Deadline);
        }
        catch (Exception e) when (RedisFailures.Translate(e) is { } translated)
        {
            throw translated;
        }
    }

    /// <summary>Ends the subscription of a channel.</summary>
    public Task UnsubscribeAsync(string channel) => _multiplexer.GetSubscriber().UnsubscribeAsync(RedisChannel.Literal(channel)).WaitAsync(Deadline);

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watchdog;
        await RedisClient.EndAsync(_multiplexer);
        _stop.Dispose();
    }

    private async Task<T> RunAsync<TState, T>(ConnectionMultiplexer multiplexer, Func<ConnectionMultiplexer, TState, Task<T>> call, TState state, TimeSpan deadline)
    {
        if (!multiplexer.IsConnected) throw new RedisUnavailableException("There is no connection to Redis.");
        try
        {
            return await call(multiplexer, state).WaitAsync(deadline);
        }
        catch (Exception e)
        {
            if (e is RedisServerException refused)
            {
                TellRefused(refused);
                if (refused.Message.StartsWith("READONLY", StringComparison.Ordinal)) LeaveReplica();
            }
            if (RedisFailures.Translate(e) is { } translated) throw translated;
            throw;
        }
    }

    // The name may lead to the replica for a while. Then the connection is replaced once every 500 ms at most, and the
    // watchdog checks each new one.
    private void LeaveReplica()
    {
        _onReplica = true;
        var (replaced, now) = (Volatile.Read(ref _replicaReplacedAt), Environment.TickCount64);
        if (now - replaced < ReplicaReplacedEveryMilliseconds || Interlocked.CompareExchange(ref _replicaReplacedAt, now, replaced) != replaced) return;
        LogReplica(_options.Endpoint);
        _ = ReplaceAsync();
    }

    // The refusal is logged here for all callers, once every 10 s at most. They treat a store that refuses as a store
    // that is away, so a script's defect would look like an outage to them.
    private void TellRefused(RedisServerException refused)
    {
        if (RedisScript.IsForgotten(refused)) return;
        var (told, now) = (Volatile.Read(ref _refusalToldAt), Environment.TickCount64);
        if (now - told >= RefusalToldEveryMilliseconds && Interlocked.CompareExchange(ref _refusalToldAt, now, told) == told) LogRefused(_options.Endpoint, refused.Message);
    }

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(_options.WatchdogMilliseconds));
        var atOnce = true;
        try
        {
            while (atOnce || await timer.WaitForNextTickAsync(_stop.Token))
            {
                atOnce = false;
                if (await PingAsync())
                {
                    Interlocked.Exchange(ref _silentSinceTicks, 0);
                    continue;
                }
                Interlocked.CompareExchange(ref _silentSinceTicks, TimeProvider.System.GetUtcNow().UtcTicks, 0);
                if (Interlocked.Increment(ref _misses) % MissesUntilReplaced != 0 || Volatile.Read(ref _longCalls) > 0) continue;
                LogUnanswered(_options.Endpoint, _misses);
                await ReplaceAsync();
            }
        }
        catch (OperationCanceledException)
        {
            // The process ends.
        }
    }

    private async Task<bool> PingAsync()
    {
        try
        {
            var multiplexer = _multiplexer;
            var (milliseconds, isPrimary) = await RunAsync(
                multiplexer, static (multiplexer, _) => RedisClient.AskAsync(multiplexer), 0, TimeSpan.FromMilliseconds(_options.WatchdogMilliseconds));
            if (!isPrimary)
            {
                LeaveReplica();
                return true;
            }
            // The client library asks for the role only once a minute. Until then a connection that was opened to a
            // replica would refuse to write, even if the server is the primary now.
            if (RedisClient.ServerOf(multiplexer).IsReplica)
            {
                await ReplaceAsync();
                return true;
            }
            _clock.Observe(milliseconds);
            _onReplica = false;
            if (Interlocked.Exchange(ref _misses, 0) >= MissesUntilReplaced) LogBack(_options.Endpoint);
            return true;
        }
        catch (Exception)
        {
            // This includes malformed replies. The connection may be out of step and return another request's answer.
            return false;
        }
    }

    private async Task ReplaceAsync()
    {
        // One replacement runs at a time. Callers that come meanwhile complain of the same connection.
        if (Interlocked.Exchange(ref _replacing, 1) == 1) return;
        var old = _multiplexer;
        try
        {
            _multiplexer = await RedisClient.OpenAsync(_options);
        }
        catch (Exception e)
        {
            // The watchdog must survive any failure here. It tries again with the next misses.
            LogNotReplaced(_options.Endpoint, e.Message);
            return;
        }
        finally
        {
            Volatile.Write(ref _replacing, 0);
        }
        _clock.ServerReplaced();
        // The end of the old connection fails the calls that still wait on it.
        _ = Task.Run(() => RedisClient.EndAsync(old));
        Replaced?.Invoke();
    }

    [LoggerMessage(1, LogLevel.Warning, "Redis at {Endpoint} left {Misses} pings unanswered: the connection is replaced")]
    private partial void LogUnanswered(string endpoint, int misses);

    [LoggerMessage(5, LogLevel.Warning, "Redis at {Endpoint} is a replica now: the connection is replaced by one to the server that this name leads to")]
    private partial void LogReplica(string endpoint);

    [LoggerMessage(6, LogLevel.Warning, "Redis at {Endpoint} answered another question: the connection is replaced")]
    private partial void LogDistrusted(string endpoint);

    [LoggerMessage(3, LogLevel.Warning, "The connection to Redis at {Endpoint} cannot be replaced: {Reason}")]
    private partial void LogNotReplaced(string endpoint, string reason);

    [LoggerMessage(4, LogLevel.Warning, "Redis at {Endpoint} refuses: {Reason}")]
    private partial void LogRefused(string endpoint, string reason);

    [LoggerMessage(2, LogLevel.Information, "Redis at {Endpoint} answers again")]
    private partial void LogBack(string endpoint);
}
