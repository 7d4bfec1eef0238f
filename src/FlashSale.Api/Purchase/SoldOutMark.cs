namespace FlashSale.Api.Purchase;

/// <summary>
/// What a node knows of an item that had nothing left. Only a decision that saw remaining = 0 sets it; it lives 500 ms
/// from the moment that decision was asked for, then one purchase probes while the others go on being refused for as
/// long as a probe may take. So a returned unit is for sale again on every node well within a second.
/// </summary>
public sealed class SoldOutMark
{
    private const int LifeMilliseconds = 500;
    private const int ProbeMilliseconds = 250;

    private long _until;
    private int _probing;
    private int _setting;

    /// <summary>Whether a purchase may be refused without asking Redis. At most one caller is told to probe, by false.</summary>
    /// <param name="now"><see cref="Environment.TickCount64"/>.</param>
    public bool Refuses(long now)
    {
        var until = Volatile.Read(ref _until);
        if (until == 0 || now >= until + ProbeMilliseconds) return false;
        return now < until || Interlocked.CompareExchange(ref _probing, 1, 0) != 0;
    }

    /// <summary>Sets the mark once the buyers up to now are known; without them a node refuses nobody.</summary>
    /// <param name="askedAt">When the decision was asked for.</param>
    /// <param name="buyers">Loaded before the mark counts.</param>
    public async Task SetAsync(long askedAt, Buyers buyers)
    {
        if (Interlocked.Exchange(ref _setting, 1) == 1) return;
        try
        {
            await buyers.LoadAsync();
            // Of decisions that cross on the way, the one asked for last counts.
            Volatile.Write(ref _until, Math.Max(Volatile.Read(ref _until), askedAt + LifeMilliseconds));
        }
        catch (Exception)
        {
            // Not set: purchases go on asking Redis.
        }
        finally
        {
            Volatile.Write(ref _probing, 0);
            Volatile.Write(ref _setting, 0);
        }
    }

    /// <summary>Something is left.</summary>
    public void Clear()
    {
        if (Volatile.Read(ref _until) == 0) return;
        Volatile.Write(ref _until, 0);
        Volatile.Write(ref _probing, 0);
    }

    /// <summary>A purchase ended without telling what is left: the next one may probe.</summary>
    public void ProbeEndedUndecided() => Volatile.Write(ref _probing, 0);
}
