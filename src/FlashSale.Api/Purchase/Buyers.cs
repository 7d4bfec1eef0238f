using System.Buffers.Binary;
using FlashSale.Platform;
using FlashSale.Sales;

namespace FlashSale.Api.Purchase;

/// <summary>
/// The users that hold a reservation of a sale, as 64 bit hashes. A node may answer "sold out" or "closed" by itself
/// only to other users, because a buyer's retry must get its 202. Redis logs the hashes in the order of acceptances, so
/// a load reads only the hashes that were added since the last one.
/// </summary>
public sealed class Buyers(RedisConnection redis, SaleKeys keys, long epoch)
{
    private const int ChunkBytes = 1 << 20;

    private readonly SemaphoreSlim _loading = new(1, 1);
    private readonly UserHashes _known = new();
    private long _offset;

    /// <summary>Whether a user was among the buyers at the last load.</summary>
    public bool Contains(ulong userHash) => _known.Contains(userHash);

    /// <summary>Loads all users that have bought before this call.</summary>
    /// <returns>False when there are more buyers than Redis logs. Then the node may refuse nobody by its own
    /// knowledge.</returns>
    /// <exception cref="RedisUnavailableException">Nothing was loaded.</exception>
    /// <exception cref="RedisOutcomeUnknownException">Nothing was loaded.</exception>
    public async Task<bool> LoadAsync()
    {
        await _loading.WaitAsync();
        try
        {
            var fresh = new List<ulong>();
            // The log shrank, so Redis lost its tail. Read it again from the start.
            var offset = await redis.CallAsync(database => database.StringLengthAsync(keys.Buyers(epoch))) is var length && length < _offset ? 0 : _offset;
            if (length >= SaleKeys.MaxBuyersBytes) return false;
            while (offset < length)
            {
                var bytes = (byte[]?)await redis.CallAsync(database => database.StringGetRangeAsync(keys.Buyers(epoch), offset, offset + ChunkBytes - 1)) ?? [];
                if (bytes.Length < 8) break;
                for (var i = 0; i + 8 <= bytes.Length; i += 8) fresh.Add(BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(i)));
                offset += bytes.Length / 8 * 8;
            }
            // Only hashes that were added count as read. A load that fails half way is repeated as a whole.
            foreach (var hash in fresh) _known.Add(hash);
            _offset = offset;
            return true;
        }
        finally
        {
            _loading.Release();
        }
    }
}
