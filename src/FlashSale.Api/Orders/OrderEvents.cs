using System.Diagnostics;
using System.Text.Json;
using FlashSale.Admission;
using FlashSale.Api.Protection;
using FlashSale.Orders;
using FlashSale.Platform;

namespace FlashSale.Api.Orders;

/// <summary>
/// GET /api/v1/orders/{orderId}/events: sends a <c>status</c> event at once and one at each change, and ends after a
/// final status. Redis announces changed orders, but an announcement can be lost. So the stream watches before it reads
/// the order, and then reads it again about every 30 s, or every 5 s while no announcements arrive. A stream also ends
/// when the host does, and its client comes back to another node.
/// </summary>
public sealed class OrderEvents
{
    // A stream wakes this often to see whether a look or a comment is due.
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan BetweenComments = TimeSpan.FromSeconds(14);

    // The shortest wait after a look that failed. The store may have been overloaded just then.
    private const int SoonMilliseconds = 500;

    // So many streams may look at the stores at once. The others wait, so that requests find places there.
    private const int LooksAtOnce = 8;

    private readonly OrderReader _orders;
    private readonly OrderAnnouncements _announcements;
    private readonly StreamPlaces _places;
    private readonly Degradation _degradation;
    private readonly OrderOptions _options;
    private readonly Shutdown _shutdown;
    private readonly SemaphoreSlim _looks = new(LooksAtOnce, LooksAtOnce);

    /// <summary>Ends all streams when the host ends.</summary>
    public OrderEvents(
        OrderReader orders, OrderAnnouncements announcements, StreamPlaces places, Degradation degradation, OrderOptions options,
        Shutdown shutdown, IHostApplicationLifetime lifetime)
    {
        (_orders, _announcements, _places, _degradation, _options, _shutdown) = (orders, announcements, places, degradation, options, shutdown);
        lifetime.ApplicationStopping.Register(announcements.WakeAll);
    }

    /// <summary>Streams until the order's status is final, the client leaves or the host ends.</summary>
    public async Task StreamAsync(HttpContext context, Order order)
    {
        if (order.Status.IsFinal() && EventStream.HasSeen(context, order.Status.Text()))
        {
            EventStream.Stop(context);
            return;
        }
        if (HeadRequests.IsHead(context))
        {
            await EventStream.BeginAsync(context);
            return;
        }
        var place = _places.TryTake(order.UserId);
        if (place is StreamPlace.UserFull)
        {
            await Problems.WriteAsync(context, RequestGuard.RateLimited,
                $"You have {_options.StreamsPerUser} event streams open, and may not have more (Orders:StreamsPerUser).");
            return;
        }
        if (place is StreamPlace.NodeFull)
        {
            await EventStream.DeferAsync(context);
            return;
        }
        try
        {
            await FollowAsync(context, order);
        }
        finally
        {
            _places.Release(order.UserId);
        }
    }

    private async Task FollowAsync(HttpContext context, Order order)
    {
        using var watch = await _announcements.WatchAsync(order);
        try
        {
            using var left = context.RequestAborted.UnsafeRegister(static state => ((OrderWatch)state!).Wake(), watch);
            await EventStream.BeginAsync(context);
            await TellAsync(context, order, watch);
        }
        finally
        {
            await _announcements.ForgetAsync(watch);
        }
    }

    private async Task TellAsync(HttpContext context, Order order, OrderWatch watch)
    {
        Order? told = null;
        var (toLook, announced, lookedAt, sentAt) = (true, true, 0L, Stopwatch.GetTimestamp());
        while (!context.RequestAborted.IsCancellationRequested)
        {
            var failed = false;
            if (toLook)
            {
                var read = await ReadAsync(order, announced, context.RequestAborted);
                (failed, lookedAt) = (read is null, Stopwatch.GetTimestamp());
                var current = read ?? told ?? order;
                if (told is null || IsLater(current.Status, told.Status))
                {
                    await EventStream.SendAsync(context, "status", current.Status.Text(),
                        JsonSerializer.Serialize(OrderPage.Of(current), OrdersJson.Default.OrderPage));
                    (told, sentAt) = (current, Stopwatch.GetTimestamp());
                }
                if (told.Status.IsFinal()) return;
            }
            if (_shutdown.HasBegun) return;
            if (Stopwatch.GetElapsedTime(sentAt) >= BetweenComments)
            {
                await EventStream.KeepAliveAsync(context);
                sentAt = Stopwatch.GetTimestamp();
            }
            announced = await watch.WaitAsync(failed ? TimeSpan.FromMilliseconds(Random.Shared.Next(SoonMilliseconds, 2 * SoonMilliseconds)) : Tick);
            toLook = failed || announced || Stopwatch.GetElapsedTime(lookedAt) >= Interval(order.SaleId);
        }
    }

    // Under degradation looks are rarer too. Announcements go on, because they cost little.
    private TimeSpan Interval(string saleId)
    {
        var arrive = _announcements.Arrive(saleId);
        if (_degradation.IsOff(Features.LiveFigures)) return 2 * BetweenLooks;
        return arrive ? BetweenLooks * (0.8 + 0.4 * Random.Shared.NextDouble()) : TimeSpan.Zero;
    }

    // After an announcement the order is read from the primary. Otherwise the look is shared with other requests, and
    // may come from a replica that is behind.
    private async Task<Order?> ReadAsync(Order order, bool announced, CancellationToken left)
    {
        await _looks.WaitAsync(CancellationToken.None);
        try
        {
            if (left.IsCancellationRequested) return null;
            return announced
                ? await _orders.FindCurrentAsync(order.OrderId, order.SaleId, CancellationToken.None)
                : await _orders.FindAsync(order.OrderId, order.SaleId, CancellationToken.None);
        }
        catch (Exception e) when (e is RedisUnavailableException || Postgres.IsTransient(e))
        {
            return null;
        }
        finally
        {
            _looks.Release();
        }
    }

    private static bool IsLater(OrderStatus status, OrderStatus than) => Rank(status) > Rank(than);

    private static int Rank(OrderStatus status) => status switch
    {
        OrderStatus.Accepted => 0,
        OrderStatus.PendingPayment => 1,
        OrderStatus.Paid or OrderStatus.Cancelled or OrderStatus.Expired or OrderStatus.Rejected => 2,
        OrderStatus.Refunded => 3,
    };
}
