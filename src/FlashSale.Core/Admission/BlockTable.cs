using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FlashSale.Admission;

/// <summary>
/// When the block of each key ends: an open addressing hash table of 16 bytes a slot, which one writer changes while any
/// number of threads read, without a lock on either side's way. A slot is taken once, for one key, its end written before
/// its key; from then on only the end changes, and both are single words. A table that gets full is copied without what
/// has ended, and replaced by one write; whoever reads the old one sees all that was there.
/// Keys are kept as 64 bit hashes, keyed anew in every process: nobody can choose an address or a name that collides with
/// another's. With a million entries one in 10^13 strangers would be taken for one of them.
/// </summary>
internal sealed class BlockTable
{
    private const int MinSlots = 16;

    // A strongly universal hash of two words (multilinear, modulo 2^128): any two keys collide with a chance of 2^-64.
    private static readonly UInt128 Key0 = RandomWord(), Key1 = RandomWord(), Key2 = RandomWord();

    private Slot[] _slots = new Slot[MinSlots];
    private int _taken;
    private int _live;

    /// <summary>Entries that were neither removed nor seen to have ended.</summary>
    public int Count => Volatile.Read(ref _live);

    /// <summary>Whether the key is blocked at that time, Unix milliseconds.</summary>
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

    /// <summary>Sets when a key's block ends, Unix milliseconds; 0 removes it. One caller at a time.</summary>
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
        // Between a third and two thirds full: a quarter of the slots must be taken again before the next copy.
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

    // 0 marks a slot that is free.
    private static ulong Hash(ulong high, ulong low) => Math.Max(1, (ulong)((Key0 + Key1 * high + Key2 * low) >> 64));

    private static UInt128 RandomWord() => MemoryMarshal.Read<UInt128>(RandomNumberGenerator.GetBytes(16));

    private struct Slot
    {
        public ulong Hash;
        public long End;
    }
}
