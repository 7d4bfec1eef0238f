using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// Follows something that is published in Redis. A message on its channel says "look now"; messages can be lost, so
/// there is a look every 250 ms as well. With Redis away the last state stays.
/// </summary>
/// <param name="redis">Where it is published.</param>
/// <param name="channel">Where changes are announced.</param>
/// <param name="logger">For what cannot be read.</param>
public abstract partial class RedisFeed(RedisConnection redis, string channel, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _refreshing = new(1, 1);
    private readonly SemaphoreSlim _hints = new(0, 1);
    private long _looksBegun;
    private long _lookSucceeded;

    /// <summary>Where it is published.</summary>
    protected RedisConnection Redis { get; } = redis;

    /// <summary>Whether there has been a first state.</summary>
    public abstract bool IsReady { get; }

    /// <summary>Takes over what is new. Never called twice at once.</summary>
    protected abstract Task LookAsync();

    /// <summary>Looks at Redis. All who come before a look begins share it.</summary>
    public async Task RefreshAsync(CancellationToken cancellation = default)
    {
        var begunBefore = Volatile.Read(ref _looksBegun);
        await _refreshing.WaitAsync(cancellation);
        try
        {
            // A look that began after this call, and is over.
            if (_lookSucceeded > begunBefore) return;
            var look = ++_looksBegun;
            await LookAsync();
            _lookSucceeded = look;
        }
        finally
        {
            _refreshing.Release();
        }
    }

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Redis.Replaced += () => _ = SubscribeAsync();
        await SubscribeAsync();
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await RefreshAsync(stoppingToken);
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The watchdog has said so already.
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // A background service that throws ends the host; a node goes on with what it knows.
                LogUnreadable(channel, e);
            }
            await _hints.WaitAsync(Interval, stoppingToken);
        }
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _refreshing.Dispose();
        _hints.Dispose();
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    private async Task SubscribeAsync()
    {
        try
        {
            await Redis.SubscribeAsync(channel, _ => { if (_hints.CurrentCount == 0) TryHint(); });
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisOutcomeUnknownException)
        {
            // A hint less; the interval stays.
        }
    }

    private void TryHint()
    {
        try
        {
            _hints.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another hint is waiting to be taken.
        }
    }

    [LoggerMessage(1, LogLevel.Error, "What is published at {Channel} cannot be read; the last state stays")]
    private partial void LogUnreadable(string channel, Exception e);
}
