using FlashSale.Worker.Keeper;

namespace FlashSale.Worker.Relay;

/// <summary>A published pack. It holds the ids that find its entries again, not the entries themselves.</summary>
/// <param name="First">Id of its first entry.</param>
/// <param name="Last">Id of its last entry.</param>
/// <param name="Skipped">Ids of entries between them that were not published.</param>
/// <param name="PublishedAt">When it was published, by <see cref="Environment.TickCount64"/>.</param>
public sealed record SentPack(string First, string Last, IReadOnlyList<string> Skipped, long PublishedAt);

/// <summary>Remembers when the youngest settled pack of any sale was published. Safe for use by many threads.</summary>
public sealed class SettledProgress
{
    private long _publishedAt = long.MinValue;

    /// <summary>Records that a pack was found settled.</summary>
    public void Settled(SentPack pack)
    {
        for (var known = Volatile.Read(ref _publishedAt); known < pack.PublishedAt;)
        {
            var found = Interlocked.CompareExchange(ref _publishedAt, pack.PublishedAt, known);
            if (found == known) return;
            known = found;
        }
    }

    /// <summary>
    /// Whether a pack that was published later has been settled. The queue is first in, first out, so it has come past
    /// this pack.
    /// </summary>
    public bool HasPassed(SentPack pack) => Volatile.Read(ref _publishedAt) > pack.PublishedAt;
}

/// <summary>
/// The packs of one sale that were published and not found settled yet. A pack counts as lost when it stays so for long
/// although the queue is empty or has come past it. A queue that is merely long, for example while Postgres is away,
/// still holds the pack. To publish it again would make that queue longer, again and again.
/// </summary>
public sealed class UnsettledPacks(OutboxReader outbox, BrokerBacklog broker, SettledProgress progress, TimeSpan patience)
{
    private const int MaxBackoff = 10;

    private readonly Queue<SentPack> _packs = new();
    private long _progressAt;
    private long _foundQueuedAt;
    private int _backoff = 1;

    /// <summary>Records that a pack was published.</summary>
    public void Add(Pack pack) => _packs.Enqueue(new SentPack(pack.Entries[0].Id, pack.Entries[^1].Id, pack.Skipped, Environment.TickCount64));

    /// <summary>Forgets all packs, since all will be published again.</summary>
    public void Clear() => _packs.Clear();

    /// <summary>
    /// Forgets the packs that are settled. Returns whether one was lost, because its message or its queue is gone.
    /// </summary>
    public async Task<bool> HasLostAsync(CancellationToken cancellation)
    {
        while (_packs.TryPeek(out var oldest))
        {
            if (await outbox.HoldsAnyAsync(oldest)) return await IsLostAsync(oldest, cancellation);
            _packs.Dequeue();
            _progressAt = Environment.TickCount64;
            progress.Settled(oldest);
        }
        _backoff = 1;
        return false;
    }

    private async Task<bool> IsLostAsync(SentPack oldest, CancellationToken cancellation)
    {
        var since = Math.Max(Math.Max(oldest.PublishedAt, _progressAt), _foundQueuedAt);
        if (Environment.TickCount64 - since < (long)patience.TotalMilliseconds * _backoff) return false;
        if (!progress.HasPassed(oldest) && await broker.HoldsPacksAsync(cancellation))
        {
            _foundQueuedAt = Environment.TickCount64;
            return false;
        }
        _backoff = Math.Min(_backoff * 2, MaxBackoff);
        return true;
    }
}
