using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// Follows something that is published in Redis. A message on its channel says "look now". Messages can be lost, so the
/// feed looks every 250 ms as well. With Redis away the last state stays.
/// </summary>
/// <param name="redis">The Redis with the published state.</param>
/// <param name="channel">The channel that announces changes.</param>
/// <param name="logger">Logs that a published state cannot be read.</param>
public abstract partial class RedisFeed(RedisConnection redis, string channel, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _refreshing = new(1, 1);
    private readonly SemaphoreSlim _hints = new(0, 1);
    private long _looksBegun;
    private long _lookSucceeded;

    /// <summary>The Redis with the published state.</summary>
    protected RedisConnection Redis { get; } = redis;

    /// <summary>Whether the feed has read a first state.</summary>
    public abstract bool IsReady { get; }

    /// <summary>Reads the published state and takes over the changes. Two calls never overlap.</summary>
    protected abstract Task LookAsync();

    /// <summary>Looks at Redis. All callers that come before a look begins share it.</summary>
    public async Task RefreshAsync(CancellationToken cancellation = default)
    {
        var begunBefore = Volatile.Read(ref _looksBegun);
        await _refreshing.WaitAsync(cancellation);
        try
        {
            // A look that began after this call has succeeded already.
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
                // The watchdog has logged already that Redis is away.
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // A background service that throws ends the host. The node goes on with the last state instead.
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
            // The interval still polls every 250 ms.
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
