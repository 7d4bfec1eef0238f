namespace FlashSale.Api.Protection;

/// <summary>
/// The place that a page or poll takes among those under way at once. It is a feature of the request. The place is
/// given back as soon as the node has no more work with the request. That is when the answer begins, because a client
/// may take the answer as slowly as it likes. It is also while the request waits for something that is not this node's
/// work.
/// </summary>
public sealed class PeripheryPlace(LoadShedder shedder)
{
    private int _left;

    /// <summary>Gives the place back. Only the first call has an effect.</summary>
    public void Leave()
    {
        if (Interlocked.Exchange(ref _left, 1) == 0) shedder.LeavePeriphery();
    }
}
