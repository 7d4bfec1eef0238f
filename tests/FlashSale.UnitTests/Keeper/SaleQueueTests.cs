using FlashSale.Worker;

namespace FlashSale.UnitTests.Keeper;

/// <summary>
/// Tests which work begins, which work waits, and the places that are kept for work that cannot wait.
/// </summary>
public sealed class SaleQueueTests
{
    private readonly SaleQueue _queue = new(places: 4);
    private readonly Dictionary<string, TaskCompletionSource> _ends = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TaskCompletionSource> _begins = new(StringComparer.Ordinal);

    [Fact]
    public async Task The_most_urgent_begin_and_the_next_when_one_ends()
    {
        _queue.Offer([Work("a"), Work("b"), Work("c"), Work("d"), Work("e")]);
        foreach (var sale in (string[])["a", "b", "c", "d"]) await _begins[sale].Task;
        Assert.False(_begins["e"].Task.IsCompleted);
        _ends["c"].SetResult();
        await _begins["e"].Task;
        Assert.True(_queue.IsBusy("a"));
    }

    [Fact]
    public async Task Work_that_can_wait_leaves_half_of_the_places_to_what_cannot()
    {
        _queue.Offer([Work("a", canWait: true), Work("b", canWait: true), Work("c", canWait: true)]);
        await _begins["a"].Task;
        await _begins["b"].Task;
        _queue.Offer([Work("d"), Work("e"), Work("c", canWait: true)]);
        await _begins["d"].Task;
        await _begins["e"].Task;
        Assert.False(_begins["c"].Task.IsCompleted);
        _ends["a"].SetResult();
        await _begins["c"].Task;
    }

    [Fact]
    public async Task A_sale_is_worked_on_once_at_a_time_and_work_that_has_not_begun_is_replaced()
    {
        _queue.Offer([Work("a"), Work("b"), Work("c"), Work("d"), Work("e")]);
        var first = _begins["a"].Task;
        await first;
        _queue.Offer([Work("a"), Work("f")]);
        _ends["b"].SetResult();
        await _begins["f"].Task;
        Assert.False(_begins["e"].Task.IsCompleted);
        Assert.False(_begins["a"].Task.IsCompleted);
    }

    // Each call makes new marks of the beginning and end of that sale's work.
    private SaleWork Work(string saleId, bool canWait = false)
    {
        var begin = _begins[saleId] = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var end = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _ends.TryAdd(saleId, end);
        return new SaleWork(saleId, canWait, () =>
        {
            begin.SetResult();
            return end.Task;
        });
    }
}
