using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// Replaces the pool's sessions as soon as Postgres refuses a write because the session is read-only. After a failover
/// the old sessions lead to the demoted server for as long as it lives, while every new session leads to the new
/// primary. Any statement of any job or request may get the refusal, so this class sees it where the exception is
/// thrown, not where each caller handles it.
/// </summary>
internal sealed partial class ReadOnlySessions(NpgsqlDataSource postgres, ILogger<ReadOnlySessions> logger)
    : IHostedService
{
    // If new sessions are read-only too, they are replaced this often, and the log tells it less often.
    private readonly Seldom _clear = new(TimeSpan.FromMilliseconds(500));
    private readonly Seldom _tell = new(TimeSpan.FromSeconds(10));

    /// <inheritdoc />
    public Task StartAsync(CancellationToken cancellationToken)
    {
        AppDomain.CurrentDomain.FirstChanceException += Thrown;
        return Task.CompletedTask;
    }

    /// <inheritdoc />
    public Task StopAsync(CancellationToken cancellationToken)
    {
        AppDomain.CurrentDomain.FirstChanceException -= Thrown;
        return Task.CompletedTask;
    }

    private void Thrown(object? sender, FirstChanceExceptionEventArgs e)
    {
        if (e.Exception is not PostgresException { SqlState: PostgresErrorCodes.ReadOnlySqlTransaction }) return;
        if (_clear.IsDue()) ThreadPool.QueueUserWorkItem(static self => self.Clear(), this, preferLocal: false);
    }

    // Idle sessions end now. Busy sessions end when they come back to the pool.
    private void Clear()
    {
        postgres.Clear();
        if (_tell.IsDue()) LogReplaced();
    }

    [LoggerMessage(1, LogLevel.Warning,
        "Postgres refuses writes, since the session is read-only, as after a failover: all sessions are replaced by new ones")]
    private partial void LogReplaced();
}
