namespace FlashSale.Api.Purchase;

/// <summary>
/// A node's knowledge that an item has nothing left. It lives 300 ms from the moment at which the decision that saw so was
/// asked for; then one purchase probes, while the others go on being refused for as long as a probe may take. It is never
/// wrong about a buyer: reserve.lua sells no unit of the item for longer than that after it had none, so all who hold one
/// had bought before the decision, and are loaded before the mark is set.
/// </summary>
public sealed class SoldOutMark
{
    /// <summary>How long a mark refuses all who hold no reservation.</summary>
    public const int LifeMilliseconds = 300;

    /// <summary>How long it refuses all but the one who probes, after that.</summary>
    public const int ProbeMilliseconds = 200;

    private Mark? _mark;
    private int _setting;

    /// <summary>Whether a purchase may be refused without asking Redis. At most one caller is told to probe, by false.</summary>
    /// <param name="now"><see cref="Environment.TickCount64"/>.</param>
    public bool Refuses(long now)
    {
        var mark = Volatile.Read(ref _mark);
        if (mark is null || now >= mark.End) return false;
        return now < mark.ProbesFrom || Interlocked.CompareExchange(ref mark.Probing, 1, 0) != 0;
    }

    /// <summary>Sets the mark after a decision that saw nothing left, once the buyers up to now are known; without them a node refuses nobody.</summary>
    /// <param name="askedAt">When the decision was asked for.</param>
    /// <param name="buyers">Loaded before the mark counts.</param>
    public Task SetAsync(long askedAt, Buyers buyers) =>
        SetAsync(new Mark(askedAt + LifeMilliseconds, askedAt + LifeMilliseconds + ProbeMilliseconds), buyers);

    /// <summary>Sets the mark after a decision that saw units which nobody may buy for a while. With them for sale nobody needs to probe.</summary>
    /// <param name="askedAt">When the decision was asked for.</param>
    /// <param name="milliseconds">How long nobody may buy.</param>
    /// <param name="buyers">Loaded before the mark counts.</param>
    public Task SetForAsync(long askedAt, int milliseconds, Buyers buyers) => SetAsync(new Mark(askedAt + milliseconds, askedAt + milliseconds), buyers);

    /// <summary>Something is left.</summary>
    public void Clear()
    {
        if (Volatile.Read(ref _mark) is not null) Volatile.Write(ref _mark, null);
    }

    /// <summary>A purchase ended without telling how much is left: the next one may probe.</summary>
    public void ProbeEndedUndecided()
    {
        if (Volatile.Read(ref _mark) is { } mark) Volatile.Write(ref mark.Probing, 0);
    }

    private async Task SetAsync(Mark mark, Buyers buyers)
    {
        if (Interlocked.Exchange(ref _setting, 1) == 1) return;
        try
        {
            // Of decisions that cross on the way, the one asked for last counts.
            if (await buyers.LoadAsync() && mark.End >= (Volatile.Read(ref _mark)?.End ?? 0)) Volatile.Write(ref _mark, mark);
            else ProbeEndedUndecided();
        }
        catch (Exception)
        {
            // Not set: purchases go on asking Redis.
            ProbeEndedUndecided();
        }
        finally
        {
            Volatile.Write(ref _setting, 0);
        }
    }

    private sealed class Mark(long probesFrom, long end)
    {
        public int Probing;

        public long ProbesFrom => probesFrom;

        public long End => end;
    }
}
