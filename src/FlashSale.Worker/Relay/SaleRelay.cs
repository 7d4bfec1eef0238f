using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Worker.Keeper;
using MassTransit;
using StackExchange.Redis;

namespace FlashSale.Worker.Relay;

/// <summary>
/// Publishes the outbox of one sale to the broker. It reads from the start of the stream and remembers how far it got.
/// Nothing leaves the outbox here. After any failure (a broker that is away, a message that came back, a lease that was
/// lost) it begins again at the start of the stream, since the consumer absorbs repeats.
/// </summary>
public sealed partial class SaleRelay(
    string saleId, RedisConnection redis, IRelayBus bus, BrokerBacklog broker, SettledProgress progress, RelayPace pace, RelayHealth health, RelayOptions options,
    RelayMetrics metrics, ILogger logger)
{
    private const string Start = "0-0";
    private const int BusyMilliseconds = 100;

    // How often the relay looks at the outbox of a sale that is over.
    private static readonly TimeSpan OverInterval = TimeSpan.FromSeconds(5);

    private readonly SaleKeys _keys = new(saleId);
    private readonly string _owner = Guid.NewGuid().ToString("N");
    private readonly Queue<Task> _confirms = new();
    private readonly List<Task> _publishes = [];
    private string _cursor = Start;
    private UnsettledPacks? _unsettled;
    private bool _troubled;

    private OutboxReader Outbox { get; } = new(redis, new SaleKeys(saleId));

    private UnsettledPacks Unsettled => _unsettled ??= new(Outbox, broker, progress, TimeSpan.FromSeconds(options.RepublishAfterSeconds));

    private RedisKey LeaseKey => _keys.Prefix + "relay";

    /// <summary>Runs until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            var isOver = false;
            try
            {
                // This look needs no lease. Redis would write the renewals to its file for as long as it holds the
                // sale.
                isOver = await Outbox.IsOverAsync();
                if (!isOver && await HoldLeaseAsync()) await RelayAsync(cancellation);
                else Restart();
            }
            catch (Exception e) when (e is not OperationCanceledException || !cancellation.IsCancellationRequested)
            {
                if (!_troubled) LogTrouble(saleId, e.Message);
                _troubled = true;
                Restart();
                await GiveUpLeaseAsync();
            }
            await Task.Delay(isOver ? OverInterval : TimeSpan.FromMilliseconds(Math.Min(500, options.LeaseMilliseconds / 4)), cancellation);
        }
    }

    // Two relays at once merely publish duplicates, so the lease need not be exact.
    private async Task<bool> HoldLeaseAsync()
    {
        var lease = TimeSpan.FromMilliseconds(options.LeaseMilliseconds);
        if (await redis.CallAsync(database => database.StringSetAsync(LeaseKey, _owner, lease, When.NotExists))) return true;
        return await redis.CallAsync(database => database.StringGetAsync(LeaseKey)) == _owner
               && await redis.CallAsync(database => database.KeyExpireAsync(LeaseKey, lease));
    }

    // A relay that cannot publish gives up its lease, so that relays of other workers can take over. Their connections
    // may be whole.
    private async Task GiveUpLeaseAsync()
    {
        try
        {
            if (await redis.CallAsync(database => database.StringGetAsync(LeaseKey)) == _owner) await redis.CallAsync(database => database.KeyDeleteAsync(LeaseKey));
        }
        catch (Exception)
        {
            // The error does not matter: the lease ends by itself, and the relay goes on.
        }
    }

    private async Task RelayAsync(CancellationToken cancellation)
    {
        var renewAt = Environment.TickCount64 + options.LeaseMilliseconds / 3;
        while (!cancellation.IsCancellationRequested)
        {
            if (Environment.TickCount64 >= renewAt)
            {
                if (!await RenewAsync(cancellation)) return;
                renewAt = Environment.TickCount64 + options.LeaseMilliseconds / 3;
            }
            var pack = await Outbox.ReadAsync(_cursor, options.PackSize);
            if (pack is not null)
            {
                _cursor = pack.Last;
                if (pack.Entries.Count > 0) await PublishAsync(pack);
            }
            // A quarter of a full pack in each round means thousands of reservations a second, even if they are not
            // published as fast. Work that can wait should wait then.
            if (pack is not null && pack.Reservations >= options.PackSize / 4) pace.FoundBusy();
            if (pack is not null && pack.Reservations >= options.PackSize)
            {
                await YieldAsync(pack.Reservations, cancellation);
            }
            else
            {
                await ConfirmedAsync(0);
                await Task.Delay(options.RestMilliseconds, cancellation);
            }
        }
    }

    // Returns whether the relay goes on: it holds the lease, and the sale is not over.
    private async Task<bool> RenewAsync(CancellationToken cancellation)
    {
        if (!await HoldLeaseAsync())
        {
            Restart();
            return false;
        }
        if (await Unsettled.HasLostAsync(cancellation))
        {
            LogRepublished(saleId, options.RepublishAfterSeconds);
            Restart();
        }
        if (!await Outbox.IsOverAsync()) return true;
        await ConfirmedAsync(0);
        await GiveUpLeaseAsync();
        return false;
    }

    // The pack was full. If purchases are still coming in, leave the cores to them.
    private async Task YieldAsync(int reservations, CancellationToken cancellation)
    {
        if (redis.NowMilliseconds - await Outbox.NewestAsync() >= BusyMilliseconds) return;
        var wait = pace.Take(reservations);
        // The wait must not be so long that the lease is lost.
        var longest = TimeSpan.FromMilliseconds(options.LeaseMilliseconds / 4);
        await Task.Delay(wait < longest ? wait : longest, cancellation);
    }

    private async Task PublishAsync(Pack pack)
    {
        await ConfirmedAsync(options.Window - 1);
        // A broker with an alarm keeps the messages and delivers them after the alarm. So the window holds for
        // publishes that were given up as well.
        _publishes.RemoveAll(publish => publish.IsCompleted);
        if (_publishes.Count >= options.Window)
        {
            health.Failed();
            throw new TimeoutException("the broker confirms nothing");
        }
        // Pass no token: while the broker has an alarm, one cancelled publish makes MassTransit end all later ones as
        // cancelled, unsent. A publish that the broker refuses does not fail either. MassTransit sends it again,
        // without end, so only the deadline in ConfirmAsync reveals it.
        var publish = bus.Publish(new ReservationPack(ReservationCodec.Version, saleId, pack.Entries), context => context.Mandatory = true);
        _publishes.Add(publish);
        _confirms.Enqueue(ConfirmAsync(publish));
        Unsettled.Add(pack);
        metrics.Published(pack.Reservations);
    }

    private async Task ConfirmAsync(Task publish)
    {
        // A confirm that is too late for this relay counts too, since it shows that the connection lives.
        _ = publish.ContinueWith(_ => health.Confirmed(), CancellationToken.None, TaskContinuationOptions.OnlyOnRanToCompletion | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        try
        {
            await publish.WaitAsync(TimeSpan.FromMilliseconds(options.ConfirmMilliseconds));
        }
        catch (Exception)
        {
            health.Failed();
            throw;
        }
    }

    private async Task ConfirmedAsync(int allowed)
    {
        while (_confirms.Count > allowed) await _confirms.Dequeue();
        if (_confirms.Count == 0 && _troubled)
        {
            _troubled = false;
            LogWell(saleId);
        }
    }

    private void Restart()
    {
        _cursor = Start;
        Unsettled.Clear();
        foreach (var confirm in _confirms) _ = confirm.ContinueWith(static task => task.Exception, TaskScheduler.Default);
        _confirms.Clear();
    }

    [LoggerMessage(1, LogLevel.Warning, "The outbox of sale {SaleId} cannot be relayed: {Reason}")]
    private partial void LogTrouble(string saleId, string reason);

    [LoggerMessage(2, LogLevel.Information, "The outbox of sale {SaleId} is relayed again")]
    private partial void LogWell(string saleId);

    [LoggerMessage(3, LogLevel.Warning, "Reservations of sale {SaleId} were not settled within {Seconds} s or more: published again")]
    private partial void LogRepublished(string saleId, int seconds);
}
