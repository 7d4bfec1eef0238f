using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>What a Redis process says about itself.</summary>
public static class RedisRun
{
    /// <summary>The id of the running process: another one after every start.</summary>
    public static async Task<string> IdAsync(RedisConnection redis) => (await InfoAsync(redis, "server"))["run_id"];

    /// <summary>A section of INFO.</summary>
    public static async Task<Dictionary<string, string>> InfoAsync(RedisConnection redis, string section)
    {
        var groups = await redis.AskServerAsync(server => server.InfoAsync(section));
        return groups.SelectMany(group => group).ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal);
    }

    /// <summary>A setting of CONFIG; null where the server does not tell.</summary>
    public static async Task<string?> SettingAsync(RedisConnection redis, string name)
    {
        try
        {
            var pairs = await redis.AskServerAsync(server => server.ConfigGetAsync(name));
            return pairs.Length == 1 ? pairs[0].Value : null;
        }
        catch (RedisServerException)
        {
            // Managed servers keep CONFIG to themselves.
            return null;
        }
    }

    /// <summary>A figure of INFO; 0 when it is not there.</summary>
    public static long Number(this Dictionary<string, string> info, string name) =>
        info.TryGetValue(name, out var text) && long.TryParse(text, out var number) ? number : 0;
}
