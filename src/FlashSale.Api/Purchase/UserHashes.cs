namespace FlashSale.Api.Purchase;

/// <summary>
/// A set of user hashes that only grows. It uses open addressing and is half full at most, so a user takes 16 to 32
/// bytes. One thread adds at a time. Any number of threads read meanwhile without a lock, because a place is taken once
/// and for ever, and a table that is too small is replaced as a whole. The hashes are random enough to serve as places.
/// </summary>
public sealed class UserHashes
{
    private const int MinPlaces = 16;

    private ulong[] _places = new ulong[MinPlaces];
    private int _taken;
    private bool _hasZero;

    /// <summary>Whether the hash was added before.</summary>
    public bool Contains(ulong hash)
    {
        // 0 marks an empty place, so the hash 0 is kept apart.
        if (hash == 0) return Volatile.Read(ref _hasZero);
        var places = Volatile.Read(ref _places);
        for (var i = hash; ; i++)
        {
            var taken = Volatile.Read(ref places[i & (ulong)(places.Length - 1)]);
            if (taken == hash) return true;
            if (taken == 0) return false;
        }
    }

    /// <summary>Adds a hash if it is not there. Only one caller at a time.</summary>
    public void Add(ulong hash)
    {
        if (Contains(hash)) return;
        if (hash == 0)
        {
            Volatile.Write(ref _hasZero, true);
            return;
        }
        if (++_taken * 2L > _places.Length)
        {
            var larger = new ulong[_places.Length * 2];
            foreach (var taken in _places)
            {
                if (taken != 0) Place(larger, taken);
            }
            Volatile.Write(ref _places, larger);
        }
        Place(_places, hash);
    }

    private static void Place(ulong[] places, ulong hash)
    {
        var i = hash;
        while (places[i & (ulong)(places.Length - 1)] != 0) i++;
        Volatile.Write(ref places[i & (ulong)(places.Length - 1)], hash);
    }
}
