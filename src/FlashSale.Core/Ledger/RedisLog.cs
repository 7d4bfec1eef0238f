using FlashSale.Platform;
using StackExchange.Redis;

namespace FlashSale.Ledger;

/// <summary>How the append-only file of Redis stands.</summary>
/// <param name="Size">Bytes now; 0 where Redis does not tell or has none.</param>
/// <param name="BaseSize">Bytes after the last rewrite, or at the start of Redis.</param>
/// <param name="IsWritten">Whether the last write succeeded.</param>
/// <param name="IsBeingRewritten">Whether a rewrite runs.</param>
public sealed record RedisLogState(long Size, long BaseSize, bool IsWritten, bool IsBeingRewritten);

/// <summary>
/// The append-only file of Redis. Redis never rewrites it by itself, since a rewrite in the middle of a rush takes a core and
/// the disk from purchases: the product says when.
/// </summary>
public sealed class RedisLog(RedisConnection redis)
{
    private volatile bool _isWanted;

    /// <summary>Whether much has left Redis that the file still holds.</summary>
    public bool IsRewriteWanted => _isWanted;

    /// <summary>Asks for a rewrite at the next quiet moment.</summary>
    public void WantRewrite() => _isWanted = true;

    /// <summary>Reads how it stands. Exceptions as of <see cref="RedisConnection.CallAsync"/>.</summary>
    public async Task<RedisLogState> ReadAsync()
    {
        var persistence = await RedisRun.InfoAsync(redis, "persistence");
        return new RedisLogState(persistence.Number("aof_current_size"), persistence.Number("aof_base_size"),
            persistence.GetValueOrDefault("aof_last_write_status") != "err",
            persistence.Number("aof_rewrite_in_progress") == 1 || persistence.Number("aof_rewrite_scheduled") == 1);
    }

    /// <summary>Begins to rewrite it, unless that is under way.</summary>
    /// <returns>Whether it has begun.</returns>
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
            // One was started meanwhile, a snapshot runs, or the server keeps the command to itself.
            return false;
        }
    }
}
