using System.Buffers;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FlashSale.Admission;
using FlashSale.Api.Purchase;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.AspNetCore.Http.HttpResults;
using StackExchange.Redis;

namespace FlashSale.Api.Sales;

/// <summary>Money as the contract spells it.</summary>
/// <param name="Amount">Minor units.</param>
/// <param name="Currency">ISO 4217.</param>
public sealed record Money(long Amount, string Currency);

/// <summary>A sale as shoppers see it; items only on its own page.</summary>
public sealed record SalePage(
    string SaleId, string Name, string Status, string OpensAt, string ClosesAt, string ServerTime, bool RequiresTicket, IReadOnlyList<ItemPage>? Items);

/// <summary>An item as shoppers see it.</summary>
public sealed record ItemPage(string Sku, string Name, Money Price, Money? ListPrice, int PerUserLimit, string Availability);

/// <summary>All sales.</summary>
public sealed record SaleList(IReadOnlyList<SalePage> Sales);

/// <summary>
/// GET /api/v1/sales and /api/v1/sales/{saleId}: from the catalog's snapshot and remaining stock that is at most
/// half a second old, so that a sale's page costs Redis the same, and is put into words as seldom, however many look at it.
/// </summary>
public sealed class SalePages(Storefront storefront, RedisConnection redis, Degradation degradation)
{
    private const int LifeMilliseconds = 500;

    // A page does not wait for a Redis that is silent: it shows what was known.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(250);

    // As long as the storefront has the sale, in whatever version.
    private readonly ConditionalWeakTable<SaleKeys, StockLook> _looks = [];

    /// <summary>Maps the pages.</summary>
    public static void Map(WebApplication app)
    {
        app.MapGet("/api/v1/sales", (SalePages pages, HttpContext context) => pages.ListAsync(context)).Produces<SaleList>().ProducesErrors(429, 503);
        app.MapGet("/api/v1/sales/{saleId}", (SalePages pages, HttpContext context, string saleId) => pages.ShowAsync(context, saleId)).Produces<SalePage>().ProducesErrors(404, 429, 503);
    }

    /// <summary>Whether nothing is left of a sale that is open, as Redis told within the last second. Costs no more than the page does.</summary>
    public async ValueTask<bool> IsSoldOutAsync(SaleOnSale sale)
    {
        var look = await LookAsync(sale);
        return Environment.TickCount64 - Volatile.Read(ref look.At) < 2 * LifeMilliseconds && look.Shown(sale, redis.NowMilliseconds).IsSoldOut;
    }

    private async Task ListAsync(HttpContext context)
    {
        var looks = new List<(SaleOnSale Sale, StockLook Look)>();
        foreach (var sale in storefront.Sales.Where(sale => !sale.Published.IsLoadRun).OrderByDescending(sale => sale.Published.Number)) looks.Add((sale, await LookAsync(sale)));
        var now = redis.NowMilliseconds;
        await WriteAsync(context, TimelessJson.Of(new SaleList([.. looks.Select(look => look.Look.Shown(look.Sale, now).Head)]), SalePagesJson.Default.SaleList), now);
    }

    private async Task ShowAsync(HttpContext context, string saleId)
    {
        if (storefront.Find(saleId) is not { } sale)
        {
            await Problems.WriteAsync(context, PurchaseProblems.SaleNotFound);
            return;
        }
        var look = await LookAsync(sale);
        var now = redis.NowMilliseconds;
        await WriteAsync(context, look.Shown(sale, now).Page, now);
    }

    // One look at a time and sale; whoever comes meanwhile gets the last one, as does everyone while Redis is away.
    private async ValueTask<StockLook> LookAsync(SaleOnSale sale)
    {
        var look = _looks.GetValue(sale.Keys, static _ => new StockLook());
        var now = Environment.TickCount64;
        if (degradation.IsOff(Features.LiveFigures | Features.FreshSalePages)) return look;
        if (!redis.IsHealthy || now - Volatile.Read(ref look.At) < LifeMilliseconds || Interlocked.Exchange(ref look.Busy, 1) == 1) return look;
        try
        {
            var entries = await redis.CallAsync(database => database.HashGetAllAsync(sale.Keys.Stock), Patience);
            look.Stock = entries.ToDictionary(entry => (string)entry.Name!, entry => (long)entry.Value, StringComparer.Ordinal);
        }
        catch (Exception e) when (Stores.IsRedisAway(e))
        {
            // The page stays as it was.
        }
        finally
        {
            Volatile.Write(ref look.At, now);
            Volatile.Write(ref look.Busy, 0);
        }
        return look;
    }

    // A page that says nothing new is not sent again.
    private async Task WriteAsync(HttpContext context, TimelessJson page, long now)
    {
        var response = context.Response;
        response.Headers.ETag = page.ETag;
        response.Headers.CacheControl = degradation.IsOff(Features.FreshSalePages) ? "public, max-age=30" : "public, max-age=1";
        if (context.Request.Headers.IfNoneMatch.Any(tags => tags == "*" || tags!.Contains(page.ETag, StringComparison.Ordinal)))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }
        response.ContentType = "application/json";
        await page.WriteAsync(response, Timestamps.Text(now), context.RequestAborted);
    }

    private sealed class StockLook
    {
        public long At = long.MinValue / 2;
        public int Busy;
        public volatile IReadOnlyDictionary<string, long> Stock = new Dictionary<string, long>(StringComparer.Ordinal);
        private volatile ShownSale? _shown;

        /// <summary>The sale with this stock, at a time: what was shown before, unless something is new.</summary>
        public ShownSale Shown(SaleOnSale sale, long now)
        {
            var (shown, stock, phase) = (_shown, Stock, sale.Published.PhaseAt(now));
            return shown is not null && shown.Sale == sale && shown.Stock == stock && shown.Phase == phase ? shown : _shown = new ShownSale(sale, stock, phase);
        }
    }
}

/// <summary>A sale as it is shown until its stock was looked at again, or its phase ends: thousands of items are put into words once, not once a visitor.</summary>
internal sealed class ShownSale
{
    // One in ten left is "low".
    private const int LowShare = 10;

    private readonly Lazy<TimelessJson> _page;

    public ShownSale(SaleOnSale sale, IReadOnlyDictionary<string, long> stock, SalePhase phase)
    {
        (Sale, Stock, Phase) = (sale, stock, phase);
        var published = sale.Published;
        IsSoldOut = phase is SalePhase.Open && published.Items.All(item => stock.TryGetValue(item.Sku, out var left) && left <= 0);
        Head = new SalePage(published.SaleId, published.Name, StatusText(), Timestamps.Text(published.OpensAt), Timestamps.Text(published.ClosesAt), ServerTime: "", published.RequiresTicket, Items: null);
        _page = new Lazy<TimelessJson>(() => TimelessJson.Of(Head with { Items = [.. published.Items.Select(Item)] }, SalePagesJson.Default.SalePage));
    }

    public SaleOnSale Sale { get; }

    public IReadOnlyDictionary<string, long> Stock { get; }

    public SalePhase Phase { get; }

    /// <summary>Without items, and without the server's time.</summary>
    public SalePage Head { get; }

    /// <summary>With items. Made when first asked for.</summary>
    public TimelessJson Page => _page.Value;

    /// <summary>Whether the sale is open, and nothing is left of any item.</summary>
    public bool IsSoldOut { get; }

    private string StatusText() => Phase switch
    {
        SalePhase.Scheduled => "scheduled",
        SalePhase.Open => IsSoldOut ? "sold_out" : "open",
        SalePhase.Paused => "paused",
        SalePhase.Closed => "closed",
    };

    private ItemPage Item(PublishedItem item)
    {
        var left = Stock.TryGetValue(item.Sku, out var units) ? units : item.Stock;
        var availability = left <= 0 ? "sold_out" : left * LowShare <= item.Stock ? "low" : "available";
        return new ItemPage(item.Sku, item.Name, new Money(item.Price, item.Currency),
            item.ListPrice is { } listPrice ? new Money(listPrice, item.Currency) : null, item.PerUserLimit, availability);
    }
}

/// <summary>JSON that lacks its server times, which each answer puts in. Its ETag does not depend on them.</summary>
internal sealed class TimelessJson
{
    // Whoever reads slowly holds no more than this and the connection's buffers.
    private const int SliceBytes = 32 * 1_024;

    private readonly byte[] _json;
    private readonly List<int> _times = [];

    private TimelessJson(byte[] json)
    {
        // No text of a name or sku can look like this: its quotes would be escaped.
        var missing = "\"serverTime\":\"\""u8;
        for (int at = 0, found; (found = json.AsSpan(at).IndexOf(missing)) >= 0; at += found + missing.Length) _times.Add(at + found + missing.Length - 1);
        _json = json;
        ETag = $"W/\"{Convert.ToHexStringLower(SHA256.HashData(json).AsSpan(0, 12))}\"";
    }

    /// <summary>Weak, with its quotes.</summary>
    public string ETag { get; }

    /// <summary>Puts a page into words whose server times are empty.</summary>
    public static TimelessJson Of<T>(T page, JsonTypeInfo<T> type) => new(JsonSerializer.SerializeToUtf8Bytes(page, type));

    /// <summary>Writes it, as of a time.</summary>
    public async Task WriteAsync(HttpResponse response, string serverTime, CancellationToken cancellation)
    {
        var time = Encoding.ASCII.GetBytes(serverTime);
        response.ContentLength = _json.Length + _times.Count * time.Length;
        var (written, unsent) = (0, 0);
        foreach (var at in _times)
        {
            await PutAsync(_json.AsMemory(written..at));
            await PutAsync(time);
            written = at;
        }
        await PutAsync(_json.AsMemory(written..));
        await response.BodyWriter.FlushAsync(cancellation);

        async ValueTask PutAsync(ReadOnlyMemory<byte> part)
        {
            while (part.Length > 0)
            {
                var slice = part[..Math.Min(part.Length, SliceBytes - unsent)];
                response.BodyWriter.Write(slice.Span);
                part = part[slice.Length..];
                unsent = (unsent + slice.Length) % SliceBytes;
                if (unsent == 0) await response.BodyWriter.FlushAsync(cancellation);
            }
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SaleList))]
[JsonSerializable(typeof(SalePage))]
internal sealed partial class SalePagesJson : JsonSerializerContext;
