namespace FlashSale.Api.Protection;

/// <summary>
/// The place that a read takes among those under way at once; a feature of its request. It is given back as soon as the node has no work left with
/// the request: when its answer begins, since a client may take that as slowly as it likes, and while it waits for something that is not this node's work.
/// </summary>
public sealed class PeripheryPlace(LoadShedder shedder)
{
    private int _left;

    /// <summary>Gives the place back; once, however often it is called.</summary>
    public void Leave()
    {
        if (Interlocked.Exchange(ref _left, 1) == 0) shedder.LeavePeriphery();
    }
}
