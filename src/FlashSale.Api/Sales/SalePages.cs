using System.Collections.Frozen;
using FlashSale.Admission;
using FlashSale.Api.Purchase;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using Microsoft.Net.Http.Headers;

namespace FlashSale.Api.Sales;

/// <summary>
/// GET /api/v1/sales and /api/v1/sales/{saleId}: show the catalog's snapshot, with remaining stock that is at most half
/// a second old. A page is serialized and compressed only when something in it has changed.
/// </summary>
public sealed class SalePages(Storefront storefront, SaleLooks looks, RedisConnection redis, Degradation degradation)
{
    private const int FreshSeconds = 1;
    private const int RelaxedSeconds = 30;

    private volatile ShownList? _list;

    /// <summary>Maps the two pages.</summary>
    public static void Map(WebApplication app)
    {
        app.MapGet("/api/v1/sales", (SalePages pages, HttpContext context) => pages.ListAsync(context))
            .WithSummary("All sales").Produces<SaleList>().ProducesETag().ProducesErrors(429, 503);
        app.MapGet("/api/v1/sales/{saleId}", (SalePages pages, HttpContext context, string saleId) => pages.ShowAsync(context, saleId))
            .WithSummary("A sale with its items").Produces<SalePage>().ProducesETag().ProducesErrors(404, 429, 503);
    }

    private async Task ListAsync(HttpContext context)
    {
        var sales = storefront.Listed;
        var soldOut = await looks.SoldOutAsync(sales, redis.NowMilliseconds);
        var now = redis.NowMilliseconds;
        var list = _list;
        if (list is null || list.Sales != sales || list.SoldOut != soldOut || now < list.From || now >= list.Until) _list = list = new ShownList(sales, soldOut, now);
        await WriteAsync(context, list.Page, now, list.Until);
    }

    private async Task ShowAsync(HttpContext context, string saleId)
    {
        if (storefront.Find(saleId) is not { } sale)
        {
            await Problems.WriteAsync(context, PurchaseProblems.SaleNotFound);
            return;
        }
        var look = await looks.OfAsync(sale);
        var now = redis.NowMilliseconds;
        await WriteAsync(context, look.Shown(sale, now).Page, now, sale.Published.PhaseEndsAt(now) ?? long.MaxValue);
    }

    // A client that has this version of a page gets 304 instead.
    private async Task WriteAsync(HttpContext context, TimelessJson page, long now, long until)
    {
        var (request, response) = (context.Request, context.Response);
        response.Headers.ETag = page.ETag;
        // A cache must not keep a page past the next opening or end. It would show "scheduled" while the crowd wants to
        // buy.
        var seconds = Math.Min(degradation.IsOff(Features.FreshSalePages) ? RelaxedSeconds : FreshSeconds, (until - now) / 1_000);
        response.Headers.CacheControl = $"public, max-age={Math.Max(0, seconds)}";
        var mayBeCompressed = page.Length >= TimelessJson.MinCompressed;
        if (mayBeCompressed) response.Headers.Append(HeaderNames.Vary, HeaderNames.AcceptEncoding);
        if (EntityTagList.TryRead(request.Headers.IfNoneMatch, out var known) && known.Names(page.ETag))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }
        response.ContentType = "application/json";
        if (mayBeCompressed && TakesGzip(request)) await page.WriteGzipAsync(response, Timestamps.Text(now), context.RequestAborted);
        else await page.WriteAsync(response, Timestamps.Text(now), context.RequestAborted);
    }

    private static bool TakesGzip(HttpRequest request)
    {
        if (!StringWithQualityHeaderValue.TryParseList(request.Headers.AcceptEncoding, out var codings)) return false;
        var named = codings.FirstOrDefault(coding => coding.Value.Equals("gzip", StringComparison.OrdinalIgnoreCase))
            ?? codings.FirstOrDefault(coding => coding.Value == "*");
        return named is not null && named.Quality != 0;
    }

    // The list, valid until a sale is published, sold out, opened or closed, or units come back.
    private sealed class ShownList(IReadOnlyList<SaleOnSale> sales, FrozenSet<string> soldOut, long now)
    {
        public IReadOnlyList<SaleOnSale> Sales { get; } = sales;

        public FrozenSet<string> SoldOut { get; } = soldOut;

        public long From { get; } = now;

        public long Until { get; } = sales.Min(sale => sale.Published.PhaseEndsAt(now)) ?? long.MaxValue;

        public TimelessJson Page { get; } = TimelessJson.Of(new SaleList([.. sales.Select(sale =>
        {
            var phase = sale.Published.PhaseAt(now);
            return ShownSale.HeadOf(sale.Published, phase, phase is SalePhase.Open && soldOut.Contains(sale.Published.SaleId));
        })]), SalePagesJson.Default.SaleList);
    }
}
