using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>The state of the append-only file of Redis.</summary>
/// <param name="Size">Size now, in bytes. 0 where Redis does not tell or has no such file.</param>
/// <param name="BaseSize">Size after the last rewrite, or at the start of Redis, in bytes.</param>
/// <param name="IsWritten">Whether the last write to the file succeeded.</param>
/// <param name="IsBeingRewritten">Whether a rewrite runs or is scheduled.</param>
public sealed record RedisLogState(long Size, long BaseSize, bool IsWritten, bool IsBeingRewritten);

/// <summary>
/// Reads and rewrites the append-only file of Redis. Redis must never rewrite it by itself: a rewrite in the middle of
/// a rush would take a core and the disk from purchases. So the loader and the worker choose the time.
/// </summary>
public sealed class RedisLog(RedisConnection redis)
{
    private volatile bool _isWanted;

    /// <summary>Whether much data has left Redis, as after archiving a sale, and the file still holds it.</summary>
    public bool IsRewriteWanted => _isWanted;

    /// <summary>Asks for a rewrite at the next quiet moment.</summary>
    public void WantRewrite() => _isWanted = true;

    /// <summary>
    /// Reads the state of the file. Throws the same exceptions as <see cref="RedisConnection.CallAsync"/>.
    /// </summary>
    public async Task<RedisLogState> ReadAsync()
    {
        var persistence = await RedisRun.InfoAsync(redis, "persistence");
        return new RedisLogState(persistence.Number("aof_current_size"), persistence.Number("aof_base_size"),
            persistence.GetValueOrDefault("aof_last_write_status") != "err",
            persistence.Number("aof_rewrite_in_progress") == 1 || persistence.Number("aof_rewrite_scheduled") == 1);
    }

    /// <summary>Starts a rewrite of the file, unless one is under way or Redis has no such file.</summary>
    /// <returns>Whether this call has started one.</returns>
    public async Task<bool> RewriteAsync()
    {
        var state = await ReadAsync();
        if (state.Size == 0 || state.IsBeingRewritten) return false;
        try
        {
            await redis.CallAsync(database => database.ExecuteAsync("BGREWRITEAOF"));
            _isWanted = false;
            return true;
        }
        catch (RedisServerException)
        {
            // A rewrite was started meanwhile, a snapshot runs, or the server does not allow the command.
            return false;
        }
    }
}
