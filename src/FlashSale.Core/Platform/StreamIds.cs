using System.Globalization;
using StackExchange.Redis;

namespace FlashSale.Platform;

/// <summary>Ids of stream entries: two numbers with a hyphen between them.</summary>
public static class StreamIds
{
    /// <summary>
    /// The first number of an id: Unix milliseconds of Redis if Redis made the id, else the number that its writer
    /// gave.
    /// </summary>
    public static long FirstOf(RedisValue id)
    {
        var text = ((string)id!).AsSpan();
        return long.Parse(text[..text.IndexOf('-')], CultureInfo.InvariantCulture);
    }
}
