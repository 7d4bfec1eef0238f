using System.Diagnostics;
using System.Diagnostics.Metrics;
using Dapper;
using FlashSale.Ledger;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Reports commits that wait for a synchronous standby that is gone. The waiting sessions report nothing, and no time
/// limit of Postgres ends such a wait. The watch never cancels it: a cancelled commit reports success, and stands on
/// the primary alone. The watch also reports settings with which a commit may be lost. It looks from a session of its
/// own, which commits nothing.
/// </summary>
public sealed partial class CommitWatch : BackgroundService
{
    private const int CommandSeconds = 10;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(5);
    private static readonly Meter Meter = new("FlashSale.Postgres");

    private readonly NpgsqlDataSource _postgres;
    private readonly ILogger<CommitWatch> _logger;

    // The waiting sessions, each with the start of its statement, and when each was first seen.
    private Dictionary<(int Session, DateTime Statement), long> _waiting = [];
    private string? _told;
    private double _waitSeconds;

    /// <summary>Registers the gauge.</summary>
    public CommitWatch(NpgsqlDataSource postgres, ILogger<CommitWatch> logger)
    {
        (_postgres, _logger) = (postgres, logger);
        Meter.CreateObservableGauge("flashsale_postgres_commit_wait_seconds", () => Volatile.Read(ref _waitSeconds),
            description: "How long the longest of the commits that wait for a synchronous standby has been waiting.");
    }

    /// <summary>
    /// Why commits do not come to their end, or might be lost. Null when all is well, or when Postgres does not answer.
    /// </summary>
    public string? Problem => Volatile.Read(ref _told);

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval);
        do
        {
            try
            {
                await using var connection = await _postgres.OpenConnectionAsync(stoppingToken);
                do await LookAsync(connection, stoppingToken);
                while (await timer.WaitForNextTickAsync(stoppingToken));
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // Postgres is away, which other parts report. The waits that were seen are over.
                _waiting = [];
                Tell(null, 0);
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private async Task LookAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        var sessions = await connection.QueryAsync<(int Session, DateTime Statement)>(new CommandDefinition(
            "select pid, query_start from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'",
            commandTimeout: CommandSeconds, cancellationToken: cancellation));
        var now = Stopwatch.GetTimestamp();
        _waiting = sessions.ToDictionary(session => session, session => _waiting.GetValueOrDefault(session, now));
        var longest = _waiting.Count == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_waiting.Values.Min(), now);
        var problem = await PostgresDurability.ProblemAsync(connection, cancellation);
        if (problem is null && longest >= LongestWait) problem = "Commits in Postgres wait for a synchronous standby, which does not confirm them.";
        Tell(problem, longest.TotalSeconds);
    }

    private void Tell(string? problem, double seconds)
    {
        if (problem is not null && problem != _told) LogProblem(problem);
        if (problem is null && _told is not null) LogWell();
        Volatile.Write(ref _told, problem);
        Volatile.Write(ref _waitSeconds, seconds);
    }

    [LoggerMessage(1, LogLevel.Error, "{Problem} Purchases go on, and are stored when that is mended")]
    private partial void LogProblem(string problem);

    [LoggerMessage(2, LogLevel.Information, "Postgres commits as it should again")]
    private partial void LogWell();
}
