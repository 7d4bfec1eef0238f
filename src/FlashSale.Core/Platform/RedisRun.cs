using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Reads facts that a Redis process tells about itself.</summary>
public static class RedisRun
{
    /// <summary>The id of the running process. It is another one after every start.</summary>
    public static async Task<string> IdAsync(RedisConnection redis) => (await InfoAsync(redis, "server"))["run_id"];

    /// <summary>A section of INFO, its values by their names.</summary>
    public static async Task<Dictionary<string, string>> InfoAsync(RedisConnection redis, string section)
    {
        var groups = await redis.AskServerAsync(server => server.InfoAsync(section));
        return groups.SelectMany(group => group).ToDictionary(pair => pair.Key, pair => pair.Value, StringComparer.Ordinal);
    }

    /// <summary>A setting of CONFIG. It is null if the server does not tell it.</summary>
    public static async Task<string?> SettingAsync(RedisConnection redis, string name)
    {
        try
        {
            var pairs = await redis.AskServerAsync(server => server.ConfigGetAsync(name));
            return pairs.Length == 1 ? pairs[0].Value : null;
        }
        catch (RedisServerException)
        {
            // Managed servers refuse CONFIG.
            return null;
        }
    }

    /// <summary>A figure of INFO. It is 0 if INFO does not have it.</summary>
    public static long Number(this Dictionary<string, string> info, string name) =>
        info.TryGetValue(name, out var text) && long.TryParse(text, out var number) ? number : 0;
}
