using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FlashSale.Platform;

/// <summary>
/// Follows something that is published in Redis. A message on its channel says "look now"; messages can be lost, so it is
/// looked at every 250 ms as well. With Redis away a node goes on with what it knows.
/// </summary>
public abstract partial class RedisFeed : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _hints = new(0, 1);
    private readonly string _channel;
    private readonly ILogger _logger;

    /// <summary>Follows a channel.</summary>
    protected RedisFeed(RedisConnection redis, string channel, ILogger logger)
    {
        Redis = redis;
        _channel = channel;
        _logger = logger;
    }

    /// <summary>Where it is published.</summary>
    protected RedisConnection Redis { get; }

    /// <summary>Looks at Redis, and takes over what is new.</summary>
    protected abstract Task FollowAsync(CancellationToken cancellation);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Redis.Replaced += () => _ = SubscribeAsync();
        await SubscribeAsync();
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await FollowAsync(stoppingToken);
            }
            catch (Exception e) when (Stores.IsRedisAway(e))
            {
                // The watchdog has said so already.
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // A background service that throws ends the host; a node goes on with what it knows.
                LogUnreadable(_channel, e);
            }
            await _hints.WaitAsync(Interval, stoppingToken);
        }
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _hints.Dispose();
        base.Dispose();
        GC.SuppressFinalize(this);
    }

    private async Task SubscribeAsync()
    {
        try
        {
            await Redis.SubscribeAsync(_channel, _ => { if (_hints.CurrentCount == 0) TryHint(); });
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

    [LoggerMessage(1, LogLevel.Error, "What is published as {Channel} cannot be read; what is known stays")]
    private partial void LogUnreadable(string channel, Exception e);
}
