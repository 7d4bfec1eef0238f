using Dapper;
using FlashSale.Platform;
using Npgsql;

namespace FlashSale.Orders;

/// <summary>
/// Whether the replica is close enough behind the primary to be read. It is asked twice a second, by the first read that
/// comes after that; the others go by its last answer. The workers' heartbeats are commits that it replays four times a second, so the
/// age of the last one is how far it is behind; without workers, or with the primary away, it counts as behind.
/// </summary>
public sealed class ReplicaLag(TimeProvider time, TimeSpan longest)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);

    private readonly Lock _sync = new();
    private long _lookedAt;
    private bool _hasLooked;
    private Task<bool> _look = Task.FromResult(false);

    /// <summary>Looks, or answers with the last look.</summary>
    /// <param name="replica">The replica.</param>
    /// <param name="guard">What stands before it.</param>
    /// <exception cref="NpgsqlException">The replica is away, as are its other exceptions.</exception>
    public Task<bool> IsCloseAsync(NpgsqlDataSource replica, Dependency guard)
    {
        lock (_sync)
        {
            // A failed look is no answer: the next read looks again, so that the replica's breaker hears of it.
            if (_hasLooked && !_look.IsFaulted && time.GetElapsedTime(_lookedAt) < Interval) return _look;
            (_hasLooked, _lookedAt) = (true, time.GetTimestamp());
            return _look = LookAsync(replica, guard);
        }
    }

    private async Task<bool> LookAsync(NpgsqlDataSource replica, Dependency guard) => await guard.RepeatableAsync(
        static async (call, token) =>
        {
            await using var connection = await call.replica.OpenConnectionAsync(token);
            // Null before it has replayed anything. A server that replays nothing is no standby: other means keep it up to date.
            var lag = await connection.ExecuteScalarAsync<TimeSpan?>(new CommandDefinition(
                "select case when pg_is_in_recovery() then clock_timestamp() - pg_last_xact_replay_timestamp() else interval '0' end", cancellationToken: token));
            return lag <= call.longest;
        }, (replica, longest), CancellationToken.None);
}
