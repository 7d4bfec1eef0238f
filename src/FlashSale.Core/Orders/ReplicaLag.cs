using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Tells whether the replica is close enough behind the primary to be read. A read asks the replica if the last answer
/// is 500 ms old. Other reads use that answer. The workers' heartbeats are commits, four a second, that the replica
/// replays, so the age of the last replayed commit is the lag. Without workers, or with the primary away, the replica
/// counts as behind.
/// </summary>
public sealed class ReplicaLag(TimeProvider time, TimeSpan longest)
{
    /// <summary>Age up to which an answer is used.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);

    // A replica that does not answer for longer is passed over, and no read waits for it.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(100);

    private readonly Lock _sync = new();
    private long _lookedAt;
    private bool _hasLooked;
    private Task<bool> _look = Task.FromResult(false);

    /// <summary>Returns the last answer, or asks the replica if that answer is too old or was a failure.</summary>
    /// <param name="replica">The replica.</param>
    /// <param name="guard">Deadline, retries and circuit breaker of the replica.</param>
    /// <exception cref="NpgsqlException">
    /// The replica is away. The exceptions of <paramref name="guard"/> mean the same.
    /// </exception>
    public async Task<bool> IsCloseAsync(NpgsqlDataSource replica, Dependency guard)
    {
        Task<bool> look;
        TimeSpan patience;
        lock (_sync)
        {
            // A failed look is not an answer. The next read looks again, so that the replica's breaker counts the
            // failure.
            var age = time.GetElapsedTime(_lookedAt);
            if (!_hasLooked || _look.IsFaulted || (_look.IsCompleted && age >= Interval))
            {
                (_hasLooked, _lookedAt, age) = (true, time.GetTimestamp(), TimeSpan.Zero);
                _look = LookAsync(replica, guard);
            }
            (look, patience) = (_look, Patience - age);
        }
        if (look.IsCompleted) return await look;
        if (patience <= TimeSpan.Zero) return false;
        try
        {
            return await look.WaitAsync(patience, time);
        }
        catch (TimeoutException) when (!look.IsCompleted)
        {
            return false;
        }
    }

    private async Task<bool> LookAsync(NpgsqlDataSource replica, Dependency guard) => await guard.RepeatableAsync(
        static async (call, token) =>
        {
            await using var connection = await call.replica.OpenConnectionAsync(token);
            // The lag is null before the server has replayed any commit, and then counts as too long. A server that is
            // not in recovery replays nothing: it is not a standby, and other means keep it up to date.
            var lag = await connection.ExecuteScalarAsync<TimeSpan?>(new CommandDefinition(
                "select case when pg_is_in_recovery() then clock_timestamp() - pg_last_xact_replay_timestamp() else interval '0' end", cancellationToken: token));
            return lag <= call.longest;
        }, (replica, longest), CancellationToken.None);
}
