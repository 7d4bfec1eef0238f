using FlashSale.Api.Purchase;

namespace FlashSale.UnitTests.Purchase;

/// <summary>
/// Tests the answers of a shared call. A request that holds its thread keeps no other request waiting.
/// </summary>
public sealed class GateBatchTests
{
    [Fact]
    public async Task A_client_that_holds_its_thread_keeps_neither_the_gate_nor_the_others_waiting()
    {
        using var release = new ManualResetEventSlim();
        var emptied = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var batch = new GateBatch(8, _ => emptied.SetResult());
        var all = Enumerable.Range(0, 8).Select(_ => batch.Add([1], null)).ToArray();
        // Kestrel holds the thread like this for a connection with further requests in its buffer.
        var held = all[0].ContinueWith(_ => release.Wait(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

        batch.Complete(GateOutcome.Unavailable);
        Assert.All(await Task.WhenAll(all[1..]), result => Assert.Equal(GateOutcome.Unavailable, result.Outcome));
        Assert.False(held.IsCompleted);
        Assert.False(emptied.Task.IsCompleted);

        release.Set();
        await Task.WhenAll(held, emptied.Task);
        Assert.False(batch.IsFull);
    }

    [Fact]
    public async Task A_batch_is_used_again_only_when_all_its_answers_are_written()
    {
        var emptied = new SemaphoreSlim(0);
        var batch = new GateBatch(16, _ => emptied.Release());
        for (var round = 0; round < 2_000; round++)
        {
            var all = Enumerable.Range(0, 1 + round % 16).Select(_ => batch.Add([1], null)).ToArray();
            batch.Complete(round % 2 == 0 ? GateOutcome.Unknown : GateOutcome.Unavailable);
            Assert.All(await Task.WhenAll(all), result => Assert.Equal(round % 2 == 0 ? GateOutcome.Unknown : GateOutcome.Unavailable, result.Outcome));
            await emptied.WaitAsync();
        }
        Assert.Equal(0, emptied.CurrentCount);
    }
}
