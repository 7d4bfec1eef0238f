using System.Security.Cryptography;
using System.Text;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>
/// A Lua script that is called by its hash. If Redis has forgotten it (SCRIPT FLUSH, a restart), the call goes out
/// again as EVAL with the text. EVAL is one command, so no flush can come between loading and calling.
/// </summary>
public sealed class RedisScript
{
    private readonly string _text;
    private readonly byte[] _hash;

    /// <summary>Reads the script from this assembly.</summary>
    /// <param name="resources">Folder and file of each part, such as <c>Stock.reserve.lua</c>. The last part is the
    /// script itself. Parts before it are local functions that it shares with other scripts.</param>
    public RedisScript(params string[] resources)
    {
        _text = string.Concat(resources.Select(Resources.Read));
#pragma warning disable CA5350 // Redis names scripts by SHA-1. Nothing is protected by it.
        _hash = SHA1.HashData(Encoding.UTF8.GetBytes(_text));
#pragma warning restore CA5350
    }

    /// <summary>Whether Redis says that it does not know a script by its hash.</summary>
    public static bool IsForgotten(RedisServerException e) => e.Message.StartsWith("NOSCRIPT", StringComparison.Ordinal);

    /// <summary>Runs the script. The exceptions are those of <see cref="RedisConnection.CallAsync"/>.</summary>
    public Task<RedisResult> CallAsync(RedisConnection redis, RedisKey[] keys, RedisValue[] arguments, TimeSpan? deadline = null) =>
        RunAsync(redis, keys, arguments, deadline, isLong: false);

    /// <summary>Runs the script as <see cref="RedisConnection.CallLongAsync"/> runs a command.</summary>
    public Task<RedisResult> CallLongAsync(RedisConnection redis, RedisKey[] keys, RedisValue[] arguments) => RunAsync(redis, keys, arguments, deadline: null, isLong: true);

    private async Task<RedisResult> RunAsync(RedisConnection redis, RedisKey[] keys, RedisValue[] arguments, TimeSpan? deadline, bool isLong)
    {
        try
        {
            return await OnceAsync(database => database.ScriptEvaluateAsync(_hash, keys, arguments));
        }
        catch (RedisServerException e) when (IsForgotten(e))
        {
            return await OnceAsync(database => database.ExecuteAsync("EVAL", Whole(keys, arguments)));
        }

        Task<RedisResult> OnceAsync(Func<IDatabase, Task<RedisResult>> call) => isLong ? redis.CallLongAsync(call) : redis.CallAsync(call, deadline);
    }

    private object[] Whole(RedisKey[] keys, RedisValue[] arguments)
    {
        var command = new object[2 + keys.Length + arguments.Length];
        command[0] = _text;
        command[1] = keys.Length;
        for (var i = 0; i < keys.Length; i++) command[2 + i] = keys[i];
        for (var i = 0; i < arguments.Length; i++) command[2 + keys.Length + i] = arguments[i];
        return command;
    }
}
