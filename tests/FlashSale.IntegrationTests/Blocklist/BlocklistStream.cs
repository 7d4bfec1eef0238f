using System.Text;
using Dapper;
using FlashSale.IntegrationTests.Infrastructure;
using Npgsql;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>Reads the blocklist in Redis and in Postgres without the product's code.</summary>
internal static class BlocklistStream
{
    public static async Task<IReadOnlyList<long>> VersionsAsync(RedisClient redis) =>
        [.. (await redis.ListAsync("XRANGE", "fs:blocklist", "1", "+")).Select(entry => long.Parse(Text(((object?[])entry!)[0]).Split('-')[0]))];

    public static async Task<IReadOnlyList<long>> TableAsync(NpgsqlDataSource postgres)
    {
        await using var connection = await postgres.OpenConnectionAsync();
        return (await connection.QueryAsync<long>("select version from blocked_subject order by version")).AsList();
    }

    /// <summary>The generation that the first entry of the stream names, or null without a stream.</summary>
    public static async Task<string?> GenerationAsync(RedisClient redis) =>
        await redis.ListAsync("XRANGE", "fs:blocklist", "0-1", "0-1") is [object?[] first] ? Text(((object?[])first[1]!)[1]) : null;

    private static string Text(object? bytes) => Encoding.ASCII.GetString((byte[])bytes!);
}
