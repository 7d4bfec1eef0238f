using FlashSale.Worker.Events;
using FlashSale.Worker.Relay;

namespace FlashSale.UnitTests.Events;

/// <summary>Tests which order events are published together, and which of them must wait.</summary>
public sealed class OrderEventBatchTests
{
    private static readonly Guid[] Orders = [.. Enumerable.Range(0, 20).Select(_ => Guid.NewGuid())];

    [Fact]
    public void No_order_is_in_a_batch_twice_and_nothing_overtakes()
    {
        var rows = Rows(Orders[..3], [Orders[4]], [Orders[1]], [Orders[5]]);
        Assert.Equal([1, 2], Take(rows, 1_000));
        Assert.Equal([3, 4], Take(rows, 1_000));
        Assert.Empty(Take(rows, 1_000));
    }

    [Fact]
    public void A_batch_is_bounded_and_a_row_that_is_longer_goes_alone()
    {
        var rows = Rows(Orders[..4], Orders[4..8], Orders[8..10], Orders[10..20], [Orders[0]]);
        Assert.Equal([1, 2], Take(rows, 8));
        Assert.Equal([3], Take(rows, 8));
        Assert.Equal([4], Take(rows, 8));
        Assert.Equal([5], Take(rows, 8));
    }

    [Fact]
    public void Random_rows_come_out_all_in_order_and_no_order_twice_in_a_batch()
    {
        var random = new Random(1);
        for (var round = 0; round < 200; round++)
        {
            var rows = Rows([.. Enumerable.Range(0, 30).Select(_ => random.GetItems(Orders, random.Next(1, 6)).Distinct().ToArray())]);
            List<long> taken = [];
            while (rows.Count > 0)
            {
                var batch = OrderEventBatch.Take(rows, 10);
                Assert.NotEmpty(batch);
                var orders = batch.SelectMany(row => row.OrderIds).ToArray();
                Assert.Equal(orders.Length, orders.Distinct().Count());
                Assert.True(orders.Length <= 10);
                taken.AddRange(batch.Select(row => row.EventId));
            }
            Assert.Equal(Enumerable.Range(1, 30).Select(i => (long)i), taken);
        }
    }

    [Fact]
    public async Task The_pace_says_busy_for_a_moment_after_a_full_pack()
    {
        var pace = new RelayPace(1_000);
        Assert.False(pace.IsBusy);
        pace.FoundBusy();
        Assert.True(pace.IsBusy);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        while (pace.IsBusy) await Task.Delay(10, deadline.Token);
    }

    private static IEnumerable<long> Take(Queue<OrderEventRow> rows, int events) => OrderEventBatch.Take(rows, events).Select(row => row.EventId);

    private static Queue<OrderEventRow> Rows(params Guid[][] orderIds) => new(orderIds.Select((ids, i) => new OrderEventRow(i + 1, "placed", default, ids)));
}
