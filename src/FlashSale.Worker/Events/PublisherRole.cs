using Dapper;
using Npgsql;

namespace FlashSale.Worker.Events;

/// <summary>
/// The right to publish order events, which one process at a time has: the advisory lock (4, 0), held by a session of its
/// own. The process shows three times per lease that it is alive; otherwise the server ends the session, and with it the
/// lock: that of a frozen process would last as long as its kernel answers. Whoever wakes up late and goes on does no harm,
/// since it only repeats what is published.
/// </summary>
public sealed class PublisherRole : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly CancellationTokenSource _lost;
    private readonly CancellationTokenSource _given = new();
    private readonly int _commandSeconds;
    private readonly Task _keeping;

    private PublisherRole(NpgsqlConnection connection, TimeSpan lease, CancellationToken stopping)
    {
        _connection = connection;
        _commandSeconds = Math.Max(1, (int)lease.TotalSeconds);
        _lost = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        _keeping = KeepAsync(lease / 3);
    }

    /// <summary>Cancelled when the role is lost, or the host stops.</summary>
    public CancellationToken Lost => _lost.Token;

    /// <summary>Takes the role, or answers null when another process has it.</summary>
    /// <param name="postgres">Where the lock is.</param>
    /// <param name="lease">How long a process that shows no life keeps it.</param>
    /// <param name="stopping">Ends the role as well.</param>
    public static async Task<PublisherRole?> TryTakeAsync(NpgsqlDataSource postgres, TimeSpan lease, CancellationToken stopping)
    {
        var connection = await postgres.OpenConnectionAsync(stopping);
        try
        {
            // The timeout first, so that there is no lock without it.
            var taken = await connection.ExecuteScalarAsync<bool>(new CommandDefinition(
                $"set idle_session_timeout = {(int)lease.TotalMilliseconds}; select pg_try_advisory_lock(4, 0)", cancellationToken: stopping));
            if (taken) return new PublisherRole(connection, lease, stopping);
            await connection.ExecuteAsync("reset idle_session_timeout");
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
        await connection.DisposeAsync();
        return null;
    }

    /// <summary>Gives the role back.</summary>
    public async ValueTask DisposeAsync()
    {
        await _given.CancelAsync();
        await _keeping;
        try
        {
            // The pool resets a session only when somebody takes it again.
            await _connection.ExecuteAsync(new CommandDefinition("select pg_advisory_unlock(4, 0); reset idle_session_timeout", commandTimeout: _commandSeconds));
        }
        catch (Exception e) when (e is NpgsqlException or InvalidOperationException or IOException or TimeoutException)
        {
            // The session is gone, or ends by its timeout.
        }
        await _connection.DisposeAsync();
        _lost.Dispose();
        _given.Dispose();
    }

    private async Task KeepAsync(TimeSpan interval)
    {
        using var timer = new PeriodicTimer(interval);
        try
        {
            while (await timer.WaitForNextTickAsync(_given.Token))
            {
                // After a failover the session may lead to the server that was demoted: its lock excludes nobody at the
                // new primary.
                var isReadOnly = await _connection.ExecuteScalarAsync<bool>(new CommandDefinition(
                    "select current_setting('transaction_read_only')::boolean", commandTimeout: _commandSeconds));
                if (isReadOnly)
                {
                    await _lost.CancelAsync();
                    return;
                }
            }
        }
        catch (OperationCanceledException) when (_given.IsCancellationRequested)
        {
            // Given back.
        }
        catch (Exception e) when (e is NpgsqlException or InvalidOperationException or IOException or TimeoutException)
        {
            await _lost.CancelAsync();
        }
    }
}
