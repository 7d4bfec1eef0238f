using FlashSale.Platform;
using FlashSale.Worker.Relay;
using Npgsql;

namespace FlashSale.Worker.Events;

/// <summary>
/// Publishes order events to the broker. It reads order_event in the order of its rows, and marks a row once the broker
/// has confirmed every message of it. Invariant: an event is published only after all earlier events of its order were
/// confirmed, to this process or to one that marked them. So however often a publisher dies, and even with two at once,
/// the first copies of an order's events are in order and no event is missing. Copies may repeat.
/// </summary>
public sealed partial class OrderEventPublisher(
    NpgsqlDataSource postgres, RabbitMqUrl broker, MigrateInBackground migrations, OrderEventStore store, RelayPace pace, EventsOptions options,
    OrderEventMetrics metrics, [FromKeyedServices(Dependency.RabbitMq)] Dependency guard, ILogger<OrderEventPublisher> logger) : BackgroundService
{
    // Advisory lock class: its holder publishes order events.
    private const int PublisherLock = 4;
    private const int BusyMilliseconds = 10_000;
    private const int PruneMilliseconds = 60_000;

    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan RoleInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(5);

    private TimeSpan _retry = FirstRetry;
    private bool _isTroubled;

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await migrations.Done.WaitAsync(stoppingToken);
        while (true)
        {
            var wait = RoleInterval;
            try
            {
                await using var role = await SessionLock.TryTakeAsync(
                    postgres, PublisherLock, key: 0, TimeSpan.FromMilliseconds(options.LeaseMilliseconds), stoppingToken);
                if (role is not null) await PublishAsync(role.Lost);
            }
            catch (Exception e)
            {
                if (stoppingToken.IsCancellationRequested) return;
                if (!_isTroubled) LogTrouble(e is OperationCanceledException ? "the session that makes this worker the publisher has ended" : e.Message);
                _isTroubled = true;
                // The lock is free during this wait, so that a worker that reaches the broker better can take it.
                wait = _retry;
                _retry = _retry * 2 < LongestRetry ? _retry * 2 : LongestRetry;
            }
            await Task.Delay(wait, stoppingToken);
        }
    }

    private async Task PublishAsync(CancellationToken lost)
    {
        await using var exchange = await guard.OnceAsync(
            static async (call, token) => await OrderExchange.OpenAsync(call.broker, call.options, token), (broker, options), lost);
        Queue<OrderEventRow> rows = new();
        var pruneAt = 0L;
        while (true)
        {
            if (Environment.TickCount64 >= pruneAt && !pace.IsBusy)
                pruneAt = Environment.TickCount64 + (await store.PruneAsync(options.KeepDays, lost) ? 0 : PruneMilliseconds);
            if (rows.Count == 0) rows = await store.UnpublishedAsync(lost);
            if (rows.Count == 0)
            {
                await Task.Delay(Rest, lost);
                continue;
            }
            await YieldAsync(lost);
            await PublishBatchAsync(exchange, OrderEventBatch.Take(rows, options.BatchSize), lost);
            if (_isTroubled) LogWell();
            _isTroubled = false;
            _retry = FirstRetry;
        }
    }

    // While purchases come in fast, publishing leaves the cores to them. It waits 10 s at most, since other systems
    // must not wait for ever.
    private async Task YieldAsync(CancellationToken lost)
    {
        for (var until = Environment.TickCount64 + BusyMilliseconds; pace.IsBusy && Environment.TickCount64 < until;) await Task.Delay(Rest, lost);
    }

    private async Task PublishBatchAsync(OrderExchange exchange, List<OrderEventRow> batch, CancellationToken lost)
    {
        var orders = await store.FactsAsync([.. batch.SelectMany(row => row.OrderIds)], lost);
        var messages = new List<OrderEventMessage>();
        foreach (var row in batch)
        {
            foreach (var orderId in row.OrderIds)
            {
                // The product never deletes orders. If an operator deleted one by hand, the events of other orders must
                // not wait for it.
                if (!orders.TryGetValue(orderId, out var order)) LogNoOrder(row.EventId, orderId);
                else if (!order.IsLoadRun) messages.Add(OrderEventMessage.Of(row.Type, row.At, order));
            }
        }
        // Only the guard's breaker applies, not its timeout. The exchange has its own deadlines, and waits past them
        // for a broker with an alarm.
        await guard.Breaker.ExecuteAsync(static (call, token) => new ValueTask(call.exchange.PublishAsync(call.messages, token)), (exchange, messages), lost);
        await store.MarkPublishedAsync([.. batch.Select(row => row.EventId)], lost);
        metrics.Published(messages.Count);
    }

    [LoggerMessage(1, LogLevel.Warning, "Order events cannot be published: {Reason}")]
    private partial void LogTrouble(string reason);

    [LoggerMessage(2, LogLevel.Information, "Order events are published again")]
    private partial void LogWell();

    [LoggerMessage(3, LogLevel.Error, "Order event {EventId} tells of order {OrderId}, which does not exist: it is left out")]
    private partial void LogNoOrder(long eventId, Guid orderId);
}

/// <summary>Chooses the rows that are published together.</summary>
public static class OrderEventBatch
{
    /// <summary>
    /// Takes rows from the front of the queue, up to <paramref name="events"/> events (a larger row goes alone), and no
    /// order twice. The messages of a batch are under way at once. When some of them fail, a later event of an order
    /// must not have passed an earlier one.
    /// </summary>
    public static List<OrderEventRow> Take(Queue<OrderEventRow> rows, int events)
    {
        List<OrderEventRow> batch = [];
        HashSet<Guid> orders = [];
        while (rows.TryPeek(out var row) && (batch.Count == 0 || orders.Count + row.OrderIds.Length <= events) && !orders.Overlaps(row.OrderIds))
        {
            orders.UnionWith(row.OrderIds);
            batch.Add(rows.Dequeue());
        }
        return batch;
    }
}
