using System.Diagnostics;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Redis did not run the command: nothing was sent, or Redis refused it before its first write.</summary>
public sealed class RedisUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The command may or may not have run: its answer did not come in time, or the connection broke under it.</summary>
public sealed class RedisOutcomeUnknownException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// The one connection of a process to Redis, and all that is particular to the version of the client.
/// The client notices neither a frozen server nor a half-open socket for many seconds:
/// so every call has a deadline, and a watchdog pings and replaces the connection after three misses.
/// The same ping keeps the offset between Redis' clock and this process' monotonic one.
/// </summary>
public sealed partial class RedisConnection : IAsyncDisposable
{
    private const int MissesUntilReplaced = 3;
    private const int OffsetSamples = 8;
    private const int RefusalToldEveryMilliseconds = 10_000;
    private const int LongestDeadlineMilliseconds = 10_000;

    private readonly RedisOptions _options;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _watchdog;
    private readonly long[] _offsets = new long[OffsetSamples];
    private volatile ConnectionMultiplexer _multiplexer;
    private int _samples;
    private long _offset;
    private int _misses;
    private int _replacing;
    private long _refusalToldAt = Environment.TickCount64 - RefusalToldEveryMilliseconds;

    private RedisConnection(RedisOptions options, ConnectionMultiplexer multiplexer, ILogger logger)
    {
        _options = options;
        _multiplexer = multiplexer;
        _logger = logger;
        // Until Redis has told its time, this machine's is the best guess.
        _offset = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() - MonotonicMilliseconds;
        _watchdog = Task.Run(WatchAsync);
    }

    /// <summary>Raised after the connection was replaced: subscriptions of the old one are gone.</summary>
    public event Action? Replaced;

    /// <summary>Whether the latest ping was answered.</summary>
    public bool IsHealthy => Volatile.Read(ref _samples) > 0 && Volatile.Read(ref _misses) == 0;

    /// <summary>Whether there has been a first answer.</summary>
    public bool HasAnswered => Volatile.Read(ref _samples) > 0;

    /// <summary>Redis TIME as this process knows it, Unix milliseconds. Never ahead of Redis, behind it by at most a round trip.</summary>
    public long NowMilliseconds => MonotonicMilliseconds + Interlocked.Read(ref _offset);

    /// <summary>The longest a call other than a purchase may take.</summary>
    public TimeSpan Deadline => TimeSpan.FromMilliseconds(_options.DeadlineMilliseconds);

    private static long MonotonicMilliseconds => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1000);

    /// <summary>Connects; does not fail when Redis is away, but goes on trying.</summary>
    public static async Task<RedisConnection> ConnectAsync(RedisOptions options, ILogger<RedisConnection> logger) =>
        new(options, await OpenAsync(options), logger);

    /// <summary>Removes keys; their memory is freed beside the commands of others, which DEL would keep waiting. Exceptions as of <see cref="CallAsync"/>; may be repeated.</summary>
    public Task UnlinkAsync(IEnumerable<RedisKey> keys) => CallAsync(database => database.ExecuteAsync("UNLINK", [.. keys.Select(key => (object)key)]));

    /// <summary>Runs one command on the current connection.</summary>
    /// <exception cref="RedisUnavailableException">It did not run.</exception>
    /// <exception cref="RedisOutcomeUnknownException">It may have run.</exception>
    /// <exception cref="RedisServerException">Redis refused it with an error of its own.</exception>
    public async Task<T> CallAsync<T>(Func<IDatabase, Task<T>> call, TimeSpan? deadline = null)
    {
        var multiplexer = _multiplexer;
        // Without a connection the client may keep a command until its deadline: nothing to wait for.
        if (!multiplexer.IsConnected) throw new RedisUnavailableException("There is no connection to Redis.");
        try
        {
            return await call(multiplexer.GetDatabase()).WaitAsync(deadline ?? Deadline);
        }
        catch (Exception e)
        {
            if (e is RedisServerException refused) TellRefused(refused);
            if (Translate(e) is { } translated) throw translated;
            throw;
        }
    }

    /// <summary>Replaces a connection whose answers belong to other questions.</summary>
    public void Distrust() => _ = ReplaceAsync();

    /// <summary>Subscribes to a channel. Messages may be lost: a subscription is a hint, never a source of truth.</summary>
    public async Task SubscribeAsync(string channel, Action<byte[]> handler)
    {
        try
        {
            await _multiplexer.GetSubscriber().SubscribeAsync(RedisChannel.Literal(channel), (_, message) => handler(message!)).WaitAsync(Deadline);
        }
        catch (Exception e) when (Translate(e) is { } translated)
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
        _multiplexer.Dispose();
        _stop.Dispose();
    }

    // Told here, once in a while, for all callers: to them a store that refuses is as good as away, and a script's defect would look like an outage.
    private void TellRefused(RedisServerException refused)
    {
        if (RedisScript.IsForgotten(refused)) return;
        var (told, now) = (Volatile.Read(ref _refusalToldAt), Environment.TickCount64);
        if (now - told >= RefusalToldEveryMilliseconds && Interlocked.CompareExchange(ref _refusalToldAt, now, told) == told) LogRefused(_options.Endpoint, refused.Message);
    }

    private static Exception? Translate(Exception e) => e switch
    {
        RedisTimeoutException { Commandstatus: CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog }
            or RedisConnectionException { CommandStatus: CommandStatus.WaitingToBeSent or CommandStatus.WaitingInBacklog }
            or RedisConnectionException { FailureType: ConnectionFailureType.UnableToResolvePhysicalConnection } =>
            new RedisUnavailableException("There is no connection to Redis.", e),
        TimeoutException => new RedisOutcomeUnknownException("Redis did not answer in time.", e),
        RedisConnectionException or ObjectDisposedException or TaskCanceledException =>
            new RedisOutcomeUnknownException("The connection to Redis broke.", e),
        // Refused before the first write of a command or script.
        RedisServerException { Message: var m } when m.StartsWith("LOADING", StringComparison.Ordinal) || m.StartsWith("OOM", StringComparison.Ordinal)
            || m.StartsWith("MISCONF", StringComparison.Ordinal) || m.StartsWith("READONLY", StringComparison.Ordinal)
            || m.StartsWith("BUSY ", StringComparison.Ordinal) || m.StartsWith("MASTERDOWN", StringComparison.Ordinal) || m.StartsWith("NOREPLICAS", StringComparison.Ordinal)
            || m.StartsWith("CLUSTERDOWN", StringComparison.Ordinal) || m.Contains("command not allowed when used memory", StringComparison.Ordinal) =>
            new RedisUnavailableException(m, e),
        _ => null,
    };

    // Everything that another major version of the client spells differently is in this method.
    private static Task<ConnectionMultiplexer> OpenAsync(RedisOptions options)
    {
        var configuration = new ConfigurationOptions
        {
            EndPoints = { options.Endpoint },
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

    private async Task WatchAsync()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(_options.WatchdogMilliseconds));
        var atOnce = true;
        try
        {
            while (atOnce || await timer.WaitForNextTickAsync(_stop.Token))
            {
                atOnce = false;
                if (await PingAsync()) continue;
                if (Interlocked.Increment(ref _misses) % MissesUntilReplaced == 0) await ReplaceAsync();
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
            var time = (RedisResult[])(await CallAsync(redis => redis.ExecuteAsync("TIME"), TimeSpan.FromMilliseconds(_options.WatchdogMilliseconds)))!;
            // Read after the answer: the estimate then errs towards the past, and a deadline in Redis time towards early.
            Observe((long)time[0] * 1000 + (long)time[1] / 1000 - MonotonicMilliseconds);
            if (Interlocked.Exchange(ref _misses, 0) >= MissesUntilReplaced) LogBack(_options.Endpoint);
            return true;
        }
        catch (Exception)
        {
            // Also an answer that is none: a reply that belongs to another question.
            return false;
        }
    }

    // The best of the last few samples is the one with the shortest way back.
    private void Observe(long offset)
    {
        _offsets[_samples % OffsetSamples] = offset;
        var best = long.MinValue;
        for (var i = 0; i < Math.Min(_samples + 1, OffsetSamples); i++) best = Math.Max(best, _offsets[i]);
        Interlocked.Exchange(ref _offset, best);
        Volatile.Write(ref _samples, _samples + 1 == int.MaxValue ? OffsetSamples : _samples + 1);
    }

    private async Task ReplaceAsync()
    {
        // One at a time: whoever comes meanwhile has the same connection in mind.
        if (Interlocked.Exchange(ref _replacing, 1) == 1) return;
        LogReplaced(_options.Endpoint, _misses);
        var old = _multiplexer;
        try
        {
            _multiplexer = await OpenAsync(_options);
        }
        catch (Exception e)
        {
            // Whatever it was, the watchdog must live: it tries again with the next misses.
            LogNotReplaced(_options.Endpoint, e.Message);
            return;
        }
        finally
        {
            Volatile.Write(ref _replacing, 0);
        }
        // Whoever still waits on the old connection is told at once, by its disposal.
        _ = Task.Run(() => old.Dispose());
        Replaced?.Invoke();
    }

    [LoggerMessage(1, LogLevel.Warning, "Redis at {Endpoint} left {Misses} pings unanswered: the connection is replaced")]
    private partial void LogReplaced(string endpoint, int misses);

    [LoggerMessage(3, LogLevel.Warning, "The connection to Redis at {Endpoint} cannot be replaced: {Reason}")]
    private partial void LogNotReplaced(string endpoint, string reason);

    [LoggerMessage(4, LogLevel.Warning, "Redis at {Endpoint} refuses: {Reason}")]
    private partial void LogRefused(string endpoint, string reason);

    [LoggerMessage(2, LogLevel.Information, "Redis at {Endpoint} answers again")]
    private partial void LogBack(string endpoint);
}
