using System.Collections.Concurrent;
using FlashSale.Ledger;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Worker.Keeper;

/// <summary>
/// Keeps Redis as Postgres has it, sale by sale, four times a second. It loads a sale that Redis lacks or has under
/// another epoch. After a restart of Redis it verifies each sale, and loads it if that fails. It publishes changes that
/// are not published yet, and finishes changes of stock that were begun. So a process that dies in the middle of a
/// change leaves no work for an operator. After a loss the sales that shoppers wait for come first. Sales that have
/// ended take no more than half of the places.
/// </summary>
public sealed partial class SaleKeeper(
    RedisConnection redis, MigrateInBackground migrations, KeptSales sales, CatalogPublisher publisher, SaleLoader loader,
    SaleVerifier verifier, StockChanges stockChanges, BrokerBacklog backlog, PostgresWatch watch, TimeProvider time, ILogger<SaleKeeper> logger)
    : PeriodicJob(TimeSpan.FromMilliseconds(250), migrations, logger)
{
    // Loads hold connections to Postgres, which the consumers need as well.
    private const int SalesAtATime = 4;

    // Only orders that expire still change an ended sale in Redis.
    private static readonly TimeSpan EndedInterval = TimeSpan.FromSeconds(10);

    // A sale that could not be kept leaves its place to others for this long.
    private static readonly TimeSpan RestAfterFailure = TimeSpan.FromSeconds(1);

    private readonly SaleQueue _queue = new(SalesAtATime);
    private readonly Dictionary<string, (KeptSale Sale, string RunId, long At)> _kept = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (string RunId, BrokerLook Look)> _lacking = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _failedAt = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _said = new(StringComparer.Ordinal);

    /// <inheritdoc />
    protected override async Task RunAsync(CancellationToken cancellation)
    {
        if (await watch.LookAsync(cancellation)) await KeepAllAsync(cancellation);
    }

    private async Task KeepAllAsync(CancellationToken cancellation)
    {
        var all = await sales.ReadAsync(cancellation);
        var runId = await RedisRun.IdAsync(redis);
        var published = await publisher.PublishedVersionsAsync();
        var due = all.Where(sale => IsDue(sale, runId)).ToList();
        var held = await sales.HeldAsync(due);
        BrokerLook? look = null;
        var work = new List<SaleWork>();
        for (var i = 0; i < due.Count; i++)
        {
            var sale = due[i];
            var isPublished = held[i].Version == sale.Version && published.GetValueOrDefault(sale.SaleId) >= sale.Version;
            if (WorkOn(sale, held[i], runId, isPublished, BeginLook, cancellation) is { } act)
            {
                work.Add(new SaleWork(sale.SaleId, sale.HasEnded, () => GuardAsync(sale, act, cancellation)));
                continue;
            }
            _kept[sale.SaleId] = (sale, runId, time.GetTimestamp());
            _lacking.Remove(sale.SaleId);
        }
        _queue.Offer(work);
        ForgetAllBut(all);

        BrokerLook BeginLook() => look ??= new BrokerLook(backlog, cancellation);
    }

    private bool IsDue(KeptSale sale, string runId)
    {
        if (_queue.IsBusy(sale.SaleId)) return false;
        if (_failedAt.TryGetValue(sale.SaleId, out var failedAt) && time.GetElapsedTime(failedAt) < RestAfterFailure) return false;
        return !sale.HasEnded || !_kept.TryGetValue(sale.SaleId, out var kept)
            || kept.Sale != sale || kept.RunId != runId || time.GetElapsedTime(kept.At) >= EndedInterval;
    }

    // Returns null where Redis holds the sale as it should.
    private Func<Task>? WorkOn(KeptSale sale, HeldSale held, string runId, bool isPublished, Func<BrokerLook> beginLook, CancellationToken cancellation)
    {
        // While a rebuild is required, an operator has to decide whether the state in Redis or the one in Postgres is
        // kept. Until then the sale is neither verified nor loaded.
        if (!sale.RebuildRequired && (held.Epoch != sale.Epoch || held.RunId != runId))
        {
            var look = LookFor(sale, runId, beginLook);
            if (held.Epoch == sale.Epoch) return () => VerifyAsync(sale, isPublished, look, cancellation);
            var why = held.Epoch is { } epoch ? $"Redis has epoch {epoch}" : "Redis does not have it";
            return () => LoadAsync(sale, why, look, cancellation);
        }
        if (!isPublished) return () => publisher.PublishAsync(sale.SaleId, cancellation);
        return sale.Unfinished && !sale.RebuildRequired ? () => stockChanges.ResumeAsync(sale.SaleId, cancellation) : null;
    }

    // All sales hit by one loss share the look at the broker that began when the loss was noticed.
    private BrokerLook LookFor(KeptSale sale, string runId, Func<BrokerLook> beginLook)
    {
        if (!_lacking.TryGetValue(sale.SaleId, out var lacking) || lacking.RunId != runId || lacking.Look.IsInVain)
            _lacking[sale.SaleId] = lacking = (runId, beginLook());
        return lacking.Look;
    }

    private async Task VerifyAsync(KeptSale sale, bool isPublished, BrokerLook look, CancellationToken cancellation)
    {
        // Redis may have lost the end of its file, and with it a pause. So the state is published before the sale sells
        // again.
        if (!isPublished) await publisher.PublishAsync(sale.SaleId, cancellation);
        await look.BeforeVerifying;
        if (await verifier.VerifyAsync(sale.SaleId, sale.Number, cancellation)) LogVerified(sale.SaleId);
        else await LoadAsync(sale, "Redis was started anew and lacks something", look, cancellation);
    }

    private async Task LoadAsync(KeptSale sale, string why, BrokerLook look, CancellationToken cancellation)
    {
        await look.BeforeLoading;
        if (await loader.LoadIfStaleAsync(sale.SaleId, cancellation) is not { } loaded) return;
        LogLoaded(sale.SaleId, loaded.Epoch, why);
        _said.TryRemove(sale.SaleId, out _);
    }

    private void ForgetAllBut(IReadOnlyList<KeptSale> all)
    {
        if (_kept.Count <= all.Count) return;
        var ids = all.Select(sale => sale.SaleId).ToHashSet(StringComparer.Ordinal);
        foreach (var gone in _kept.Keys.Where(id => !ids.Contains(id)).ToList())
        {
            _kept.Remove(gone);
            _lacking.Remove(gone);
            _said.TryRemove(gone, out _);
            _failedAt.TryRemove(gone, out _);
        }
    }

    // A failure of one sale is looked at again later, and no other sale waits for it.
    private async Task GuardAsync(KeptSale sale, Func<Task> keep, CancellationToken cancellation)
    {
        try
        {
            await keep();
            _failedAt.TryRemove(sale.SaleId, out _);
            return;
        }
        catch (SaleLoadException e)
        {
            if (!_said.TryGetValue(sale.SaleId, out var said) || said != e.Message) LogNotLoaded(sale.SaleId, e.Message);
            _said[sale.SaleId] = e.Message;
        }
        catch (Exception e) when (e is not OperationCanceledException || !cancellation.IsCancellationRequested)
        {
            if (!Stores.IsAway(e)) LogFailed(sale.SaleId, e);
        }
        catch (OperationCanceledException)
        {
            // The host is stopping.
        }
        _failedAt[sale.SaleId] = time.GetTimestamp();
    }

    [LoggerMessage(2, LogLevel.Information, "Sale {SaleId} lost nothing when Redis was started anew: it sells on")]
    private partial void LogVerified(string saleId);

    [LoggerMessage(3, LogLevel.Warning, "Sale {SaleId} was loaded under epoch {Epoch}: {Why}")]
    private partial void LogLoaded(string saleId, long epoch, string why);

    [LoggerMessage(4, LogLevel.Warning, "Sale {SaleId} is not loaded yet: {Reason}")]
    private partial void LogNotLoaded(string saleId, string reason);

    [LoggerMessage(5, LogLevel.Error, "Sale {SaleId} cannot be kept")]
    private partial void LogFailed(string saleId, Exception e);
}
