namespace FlashSale.Api.Purchase;

/// <summary>
/// A node's knowledge that an item has nothing left. The mark counts for 300 ms from the moment at which the node asked
/// for the decision that saw nothing left. Then one purchase probes, and the others are refused for as long as a probe
/// may take. The mark is never wrong about a buyer. After an item had nothing left, reserve.lua sells no unit of it for
/// longer than a mark counts. So every user with a reservation bought before the decision, and the buyers are loaded
/// before the mark is set.
/// </summary>
public sealed class SoldOutMark
{
    /// <summary>How long a mark refuses every user without a reservation, in milliseconds.</summary>
    public const int LifeMilliseconds = 300;

    /// <summary>How long it then refuses every purchase but the one that probes, in milliseconds.</summary>
    public const int ProbeMilliseconds = 200;

    private Mark? _mark;
    private int _setting;

    /// <summary>
    /// Whether a purchase may be refused without asking Redis. While a probe is due, false lets one caller at a time
    /// through to probe.
    /// </summary>
    /// <param name="now"><see cref="Environment.TickCount64"/> at the call.</param>
    public bool Refuses(long now)
    {
        var mark = Volatile.Read(ref _mark);
        if (mark is null || now >= mark.End) return false;
        return now < mark.ProbesFrom || Interlocked.CompareExchange(ref mark.Probing, 1, 0) != 0;
    }

    /// <summary>
    /// Sets the mark after a decision that saw nothing left. The buyers up to now are loaded first. If that fails the
    /// mark is not set, because without them a node refuses nobody.
    /// </summary>
    /// <param name="askedAt"><see cref="Environment.TickCount64"/> when the decision was asked for.</param>
    /// <param name="buyers">Loaded before the mark counts.</param>
    public Task SetAsync(long askedAt, Buyers buyers) =>
        SetAsync(new Mark(askedAt + LifeMilliseconds, askedAt + LifeMilliseconds + ProbeMilliseconds), buyers);

    /// <summary>
    /// Sets the mark after a decision that saw units which nobody may buy yet. It needs no probe, because the units are
    /// for sale when the mark ends.
    /// </summary>
    /// <param name="askedAt"><see cref="Environment.TickCount64"/> when the decision was asked for.</param>
    /// <param name="milliseconds">How long nobody may buy, from then on.</param>
    /// <param name="buyers">Loaded before the mark counts.</param>
    public Task SetForAsync(long askedAt, int milliseconds, Buyers buyers) => SetAsync(new Mark(askedAt + milliseconds, askedAt + milliseconds), buyers);

    /// <summary>Removes the mark, because something is left.</summary>
    public void Clear()
    {
        if (Volatile.Read(ref _mark) is not null) Volatile.Write(ref _mark, null);
    }

    /// <summary>Lets the next purchase probe, because one ended without telling how much is left.</summary>
    public void ProbeEndedUndecided()
    {
        if (Volatile.Read(ref _mark) is { } mark) Volatile.Write(ref mark.Probing, 0);
    }

    private async Task SetAsync(Mark mark, Buyers buyers)
    {
        if (Interlocked.Exchange(ref _setting, 1) == 1) return;
        try
        {
            // When decisions cross on the way, the one that was asked for last counts.
            if (await buyers.LoadAsync() && mark.End >= (Volatile.Read(ref _mark)?.End ?? 0)) Volatile.Write(ref _mark, mark);
            else ProbeEndedUndecided();
        }
        catch (Exception)
        {
            // The mark is not set, and purchases go on asking Redis.
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
