using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FlashSale.Admission;

/// <summary>
/// The time at which the block of each key ends: an open addressing hash table with 16 bytes a slot. One writer changes
/// it while any number of threads read, and neither side takes a lock. A slot is taken once, for one key. Its end is
/// written before its key. From then on only the end changes. Both are single words, so a reader never sees half of a
/// value. A full table is copied without its ended entries, and one write replaces it. A reader of the old table sees
/// all entries that were in it.
/// Keys are kept as 64 bit hashes under a secret of this process, so an attacker cannot choose an address or a name
/// that collides with another. With a million entries one in 10^13 strangers would be mistaken for one of them.
/// </summary>
internal sealed class BlockTable
{
    private const int MinSlots = 16;

    // A strongly universal hash of two words (multilinear, modulo 2^128): any two keys collide with probability 2^-64.
    private static readonly UInt128 Key0 = RandomWord(), Key1 = RandomWord(), Key2 = RandomWord();

    private Slot[] _slots = new Slot[MinSlots];
    private int _taken;
    private int _live;

    /// <summary>Number of entries that were neither removed nor found to have ended.</summary>
    public int Count => Volatile.Read(ref _live);

    /// <summary>Whether the key is blocked at <paramref name="now"/>, Unix milliseconds.</summary>
    public bool Blocks(ulong high, ulong low, long now)
    {
        var hash = Hash(high, low);
        var slots = Volatile.Read(ref _slots);
        for (var i = hash; ; i++)
        {
            ref var slot = ref slots[i & (ulong)(slots.Length - 1)];
            var taken = Volatile.Read(ref slot.Hash);
            if (taken == hash) return Volatile.Read(ref slot.End) > now;
            if (taken == 0) return false;
        }
    }

    /// <summary>
    /// Sets the time at which a key's block ends, Unix milliseconds. An end of 0 removes the block. One caller at a
    /// time.
    /// </summary>
    public void Set(ulong high, ulong low, long end, long now)
    {
        var hash = Hash(high, low);
        ref var slot = ref Find(_slots, hash);
        if (slot.Hash == 0)
        {
            if (end == 0) return;
            if ((_taken + 1) * 4L > _slots.Length * 3L)
            {
                Rebuild(now);
                slot = ref Find(_slots, hash);
            }
            _taken++;
        }
        var count = _live + (end == 0 ? 0 : 1) - (slot.End == 0 ? 0 : 1);
        Volatile.Write(ref slot.End, end);
        Volatile.Write(ref slot.Hash, hash);
        Volatile.Write(ref _live, count);
    }

    private static ref Slot Find(Slot[] slots, ulong hash)
    {
        for (var i = hash; ; i++)
        {
            ref var slot = ref slots[i & (ulong)(slots.Length - 1)];
            if (slot.Hash == hash || slot.Hash == 0) return ref slot;
        }
    }

    private void Rebuild(long now)
    {
        var live = _slots.Count(slot => slot.End > now);
        // The copy is at most five eighths full. The next one comes at three quarters, so at least an eighth of the
        // slots must be taken before it.
        var length = MinSlots;
        while (length < live * 8L / 5) length *= 2;
        var next = new Slot[length];
        foreach (var slot in _slots)
        {
            if (slot.End > now) Find(next, slot.Hash) = slot;
        }
        (_taken, _live) = (live, live);
        Volatile.Write(ref _slots, next);
    }

    // Never 0, which marks a free slot.
    private static ulong Hash(ulong high, ulong low) => Math.Max(1, (ulong)((Key0 + Key1 * high + Key2 * low) >> 64));

    private static UInt128 RandomWord() => MemoryMarshal.Read<UInt128>(RandomNumberGenerator.GetBytes(16));

    private struct Slot
    {
        public ulong Hash;
        public long End;
    }
}
