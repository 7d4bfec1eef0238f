using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Goes over the keys of Redis a few thousand at a time, so that nobody waits long for it.</summary>
public static class RedisScan
{
    /// <summary>Removes the keys of a pattern that are to go; their memory is freed in the background. Exceptions as of <see cref="RedisConnection.CallAsync"/>; may be repeated.</summary>
    /// <param name="redis">Where.</param>
    /// <param name="pattern">As of SCAN MATCH.</param>
    /// <param name="isToGo">Asked once or more for each key.</param>
    public static async Task UnlinkAsync(RedisConnection redis, string pattern, Predicate<string> isToGo)
    {
        var cursor = "0";
        do
        {
            var page = (RedisResult[])(await redis.CallAsync(database => database.ExecuteAsync("SCAN", cursor, "MATCH", pattern, "COUNT", "5000")))!;
            cursor = (string)page[0]!;
            var going = ((string[])page[1]!).Where(key => isToGo(key)).Select(key => (object)(RedisKey)key).ToArray();
            if (going.Length > 0) await redis.CallAsync(database => database.ExecuteAsync("UNLINK", going));
        }
        while (cursor != "0");
    }
}
