using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
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
/// half a second old, so that a page costs Redis the same however many look at it.
/// </summary>
public sealed class SalePages(Storefront storefront, RedisConnection redis, Degradation degradation)
{
    private const int LifeMilliseconds = 500;

    // A page does not wait for a Redis that is silent: it shows what was known.
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(250);

    // One in ten left is "low".
    private const int LowShare = 10;

    private readonly ConcurrentDictionary<string, StockLook> _stock = new(StringComparer.Ordinal);

    /// <summary>Maps the pages.</summary>
    public static void Map(WebApplication app)
    {
        app.MapGet("/api/v1/sales", (SalePages pages, HttpContext context) => pages.ListAsync(context)).Produces<SaleList>().ProducesErrors(429, 503);
        app.MapGet("/api/v1/sales/{saleId}", (SalePages pages, HttpContext context, string saleId) => pages.ShowAsync(context, saleId)).Produces<SalePage>().ProducesErrors(404, 429, 503);
    }

    private async Task ListAsync(HttpContext context)
    {
        var pages = new List<SalePage>();
        foreach (var sale in storefront.Sales.Where(sale => !sale.Published.IsLoadRun).OrderByDescending(sale => sale.Published.Number))
            pages.Add(Page(sale, await StockOfAsync(sale), withItems: false));
        await WriteAsync(context, new SaleList(pages), new SaleList([.. pages.Select(page => page with { ServerTime = "" })]), SalePagesJson.Default.SaleList);
    }

    private async Task ShowAsync(HttpContext context, string saleId)
    {
        if (storefront.Find(saleId) is not { } sale)
        {
            await Problems.WriteAsync(context, PurchaseProblems.SaleNotFound);
            return;
        }
        var page = Page(sale, await StockOfAsync(sale), withItems: true);
        await WriteAsync(context, page, page with { ServerTime = "" }, SalePagesJson.Default.SalePage);
    }

    private SalePage Page(SaleOnSale sale, IReadOnlyDictionary<string, long> stock, bool withItems)
    {
        var published = sale.Published;
        var now = redis.NowMilliseconds;
        var status = published.PhaseAt(now) switch
        {
            SalePhase.Scheduled => "scheduled",
            SalePhase.Open => published.Items.All(item => stock.TryGetValue(item.Sku, out var left) && left <= 0) ? "sold_out" : "open",
            SalePhase.Paused => "paused",
            SalePhase.Closed => "closed",
        };
        return new SalePage(published.SaleId, published.Name, status, Timestamps.Text(published.OpensAt), Timestamps.Text(published.ClosesAt),
            Timestamps.Text(now), published.RequiresTicket, withItems ? [.. published.Items.Select(item => Item(item, stock))] : null);
    }

    private static ItemPage Item(PublishedItem item, IReadOnlyDictionary<string, long> stock)
    {
        var left = stock.TryGetValue(item.Sku, out var units) ? units : item.Stock;
        var availability = left <= 0 ? "sold_out" : left * LowShare <= item.Stock ? "low" : "available";
        return new ItemPage(item.Sku, item.Name, new Money(item.Price, item.Currency),
            item.ListPrice is { } listPrice ? new Money(listPrice, item.Currency) : null, item.PerUserLimit, availability);
    }

    // One look at a time and sale; whoever comes meanwhile gets the last one, as does everyone while Redis is away.
    private async ValueTask<IReadOnlyDictionary<string, long>> StockOfAsync(SaleOnSale sale)
    {
        var look = _stock.GetOrAdd(sale.Published.SaleId, _ => new StockLook());
        var now = Environment.TickCount64;
        if (degradation.IsOff(Features.LiveFigures | Features.FreshSalePages)) return look.Stock;
        if (!redis.IsHealthy || now - Volatile.Read(ref look.At) < LifeMilliseconds || Interlocked.Exchange(ref look.Busy, 1) == 1) return look.Stock;
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
        return look.Stock;
    }

    // The ETag leaves the server's time out: a page that says nothing new is not sent again.
    private async Task WriteAsync<T>(HttpContext context, T page, T timeless, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        var etag = $"W/\"{Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(timeless, type)).AsSpan(0, 12))}\"";
        var response = context.Response;
        response.Headers.ETag = etag;
        response.Headers.CacheControl = degradation.IsOff(Features.FreshSalePages) ? "public, max-age=30" : "public, max-age=1";
        if (context.Request.Headers.IfNoneMatch.Any(tags => tags == "*" || tags!.Contains(etag, StringComparison.Ordinal)))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }
        response.ContentType = "application/json";
        await JsonSerializer.SerializeAsync(response.Body, page, type, context.RequestAborted);
    }

    private sealed class StockLook
    {
        public long At = long.MinValue / 2;
        public int Busy;
        public volatile IReadOnlyDictionary<string, long> Stock = new Dictionary<string, long>(StringComparer.Ordinal);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SaleList))]
[JsonSerializable(typeof(SalePage))]
internal sealed partial class SalePagesJson : JsonSerializerContext;
