using System.Collections.Concurrent;
using FlashSale.IntegrationTests.Infrastructure;
using FlashSale.Platform;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>Callers treat a Redis that answers with errors as away, so the connection must log the reason.</summary>
public sealed class RedisRefusalTests
{
    [Fact]
    public async Task What_Redis_refuses_is_told_once_in_a_while_and_scripts_that_it_forgot_are_not()
    {
        await using var server = await RedisServer.StartNewAsync();
        var log = new KeptLog();
        await using var redis = await RedisConnection.ConnectAsync(new RedisOptions { Endpoint = server.Endpoint, DeadlineMilliseconds = 10_000, WatchdogMilliseconds = 5_000 }, log);
        await Eventually.TrueAsync("Redis is healthy", TimeSpan.FromSeconds(10), () => Task.FromResult(redis.IsHealthy));

        await Assert.ThrowsAsync<RedisServerException>(() => redis.CallAsync(database => database.ExecuteAsync("EVALSHA", new string('0', 40), "0")));
        Assert.DoesNotContain(log.Lines, IsRefusal);
        for (var i = 0; i < 20; i++) await Assert.ThrowsAsync<RedisServerException>(() => redis.CallAsync(database => database.ExecuteAsync("EVAL", "return nothing.at.all", "0")));
        var line = Assert.Single(log.Lines, IsRefusal);
        Assert.Contains(server.Endpoint, line, StringComparison.Ordinal);
        Assert.Contains("nonexistent global variable 'nothing'", line, StringComparison.Ordinal);
    }

    private static bool IsRefusal(string line) => line.Contains("refuses", StringComparison.Ordinal);

    private sealed class KeptLog : ILogger<RedisConnection>
    {
        public ConcurrentQueue<string> Lines { get; } = new();

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Enqueue(formatter(state, exception));
    }
}
