using Dapper;
using Npgsql;

namespace FlashSale.Platform;

/// <summary>
/// A Postgres advisory lock that one process at a time has, held by a session of its own. The process shows three times
/// per lease that it is alive. Otherwise the server ends the session, and with it the lock. The plain session lock of a
/// frozen process would last for as long as its kernel answers. A process that wakes up late may go on for a moment. So
/// the lock only keeps work from being done twice, and a fence (an epoch, a version, a mark) keeps late work from doing
/// harm.
/// </summary>
public sealed class SessionLock : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly string _name;
    private readonly CancellationTokenSource _lost;
    private readonly CancellationTokenSource _given = new();
    private readonly int _commandSeconds;
    private readonly Task _keeping;

    private SessionLock(NpgsqlConnection connection, string name, TimeSpan lease, CancellationToken stopping)
    {
        _connection = connection;
        _name = name;
        _commandSeconds = Math.Max(1, (int)lease.TotalSeconds);
        _lost = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        _keeping = KeepAsync(lease / 3);
    }

    /// <summary>Cancelled when the lock is lost, or when the token that it was taken with is cancelled.</summary>
    public CancellationToken Lost => _lost.Token;

    /// <summary>Takes the lock, or answers null when another process has it.</summary>
    /// <param name="postgres">The database with the lock.</param>
    /// <param name="lockClass">First half of the advisory lock's key: the kind of work.</param>
    /// <param name="key">Second half of the key: the sale, or 0.</param>
    /// <param name="lease">How long a process that shows no life keeps the lock.</param>
    /// <param name="stopping">Cancels <see cref="Lost"/> as well.</param>
    public static async Task<SessionLock?> TryTakeAsync(
        NpgsqlDataSource postgres, int lockClass, int key, TimeSpan lease, CancellationToken stopping)
    {
        var name = $"({lockClass}, {key})";
        var connection = await postgres.OpenConnectionAsync(stopping);
        try
        {
            // The timeout is set first, so that no session has the lock without it.
            var taken = await connection.ExecuteScalarAsync<bool>(new CommandDefinition(
                $"set idle_session_timeout = {(int)lease.TotalMilliseconds}; select pg_try_advisory_lock{name}", cancellationToken: stopping));
            if (taken) return new SessionLock(connection, name, lease, stopping);
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

    /// <summary>
    /// Takes the lock as soon as it is free, or answers null if it was not free within <paramref name="patience"/>.
    /// </summary>
    /// <inheritdoc cref="TryTakeAsync(NpgsqlDataSource, int, int, TimeSpan, CancellationToken)" />
    public static async Task<SessionLock?> TryTakeAsync(
        NpgsqlDataSource postgres, int lockClass, int key, TimeSpan lease, TimeSpan patience, CancellationToken stopping)
    {
        for (var deadline = Environment.TickCount64 + (long)patience.TotalMilliseconds; ; await Task.Delay(50, stopping))
        {
            var taken = await TryTakeAsync(postgres, lockClass, key, lease, stopping);
            if (taken is not null || Environment.TickCount64 >= deadline) return taken;
        }
    }

    /// <summary>Gives the lock back.</summary>
    public async ValueTask DisposeAsync()
    {
        await _given.CancelAsync();
        await _keeping;
        try
        {
            // The pool resets a session only when it is taken again, so the lock must be released here.
            await _connection.ExecuteAsync(new CommandDefinition(
                $"select pg_advisory_unlock{_name}; reset idle_session_timeout", commandTimeout: _commandSeconds));
        }
        catch (Exception e) when (IsLoss(e))
        {
            // The session is gone, or ends by its timeout.
        }
        await _connection.DisposeAsync();
        _lost.Dispose();
        _given.Dispose();
    }

    private static bool IsLoss(Exception e) => e is NpgsqlException or InvalidOperationException or IOException or TimeoutException;

    private Task<bool> IsOnPrimaryAsync() => _connection.ExecuteScalarAsync<bool>(
        new CommandDefinition("select not current_setting('transaction_read_only')::boolean", commandTimeout: _commandSeconds));

    private async Task KeepAsync(TimeSpan interval)
    {
        using var timer = new PeriodicTimer(interval);
        try
        {
            // After a failover the session may lead to the demoted server. Its lock excludes nobody at the new primary.
            while (await timer.WaitForNextTickAsync(_given.Token) && await IsOnPrimaryAsync())
            {
            }
            if (!_given.IsCancellationRequested) await _lost.CancelAsync();
        }
        catch (OperationCanceledException) when (_given.IsCancellationRequested)
        {
            // The holder has given the lock back.
        }
        catch (Exception e) when (IsLoss(e))
        {
            await _lost.CancelAsync();
        }
    }
}
