using System.Diagnostics.Metrics;
using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Watches the append-only file of Redis, which grows with every write, and starts a rewrite when the file is large and
/// few purchases come in. Redis ends itself when it cannot write the file, so gauges show its size and whether the last
/// write succeeded.
/// </summary>
public sealed partial class RedisLogJob : PeriodicJob
{
    private const int Seconds = 5;
    private const int GrowthFactor = 2;

    // At this growth even a shop that is never quiet gets a rewrite, since a full disk would be worse.
    private const int GrowthFactorInAnyCase = 8;

    // An accepted purchase writes some 700 bytes, so this is about a hundred purchases a second.
    private const long QuietBytesPerSecond = 70_000;

    private static readonly Meter Meter = new("FlashSale.RedisLog");

    private readonly RedisLog _log;
    private readonly NpgsqlDataSource _postgres;
    private readonly long _leastBytes;
    private readonly ILogger<RedisLogJob> _logger;
    private volatile RedisLogState? _last;

    /// <summary>Registers the gauges.</summary>
    public RedisLogJob(RedisLog log, NpgsqlDataSource postgres, RedisLogOptions options, MigrateInBackground migrations, ILogger<RedisLogJob> logger)
        : base(TimeSpan.FromSeconds(Seconds), migrations, logger)
    {
        (_log, _postgres, _leastBytes, _logger) = (log, postgres, options.RewriteAboveMegabytes * 1_000_000L, logger);
        Meter.CreateObservableGauge("flashsale_redis_log_bytes", () => _last?.Size ?? 0, description: "Size of the append-only file of Redis.");
        Meter.CreateObservableGauge("flashsale_redis_log_base_bytes", () => _last?.BaseSize ?? 0, description: "Size of the append-only file of Redis after its last rewrite.");
        Meter.CreateObservableGauge("flashsale_redis_log_written", () => _last is { IsWritten: false } ? 0 : 1,
            description: "1 when the last write to the append-only file of Redis succeeded, else 0: its disk is full.");
    }

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        var (before, now) = (_last, await _log.ReadAsync());
        _last = now;
        if (!MustBeRewritten(before, now, _leastBytes, _log.IsRewriteWanted) || await OpensSoonAsync(cancellation)) return;
        if (await _log.RewriteAsync()) LogRewritten(now.Size >> 20);
    }

    /// <summary>Whether the file is to be rewritten now.</summary>
    /// <param name="before">The state at the last look. Null at the first look.</param>
    /// <param name="now">The state now.</param>
    /// <param name="leastBytes">The size below which the file is left alone, however much it has grown.</param>
    /// <param name="isWanted">Whether the file still holds much that has left Redis.</param>
    public static bool MustBeRewritten(RedisLogState? before, RedisLogState now, long leastBytes, bool isWanted)
    {
        if (before is null || now.IsBeingRewritten || now.Size < leastBytes) return false;
        if (now.Size >= Math.Max(leastBytes, now.BaseSize) * GrowthFactorInAnyCase) return true;
        var isQuiet = now.Size - before.Size < QuietBytesPerSecond * Seconds;
        return isQuiet && (isWanted || now.Size >= now.BaseSize * GrowthFactor);
    }

    private async Task<bool> OpensSoonAsync(CancellationToken cancellation)
    {
        await using var connection = await _postgres.OpenConnectionAsync(cancellation);
        return await connection.ExecuteScalarAsync<bool>(new CommandDefinition(
            "select exists (select 1 from sale where status = 'live' and epoch > 0 and opens_at between now() - interval '1 minute' and now() + interval '5 minutes')", cancellationToken: cancellation));
    }

    [LoggerMessage(1, LogLevel.Information, "The append-only file of Redis, of {Megabytes} MiB, is being rewritten")]
    private partial void LogRewritten(long megabytes);
}
