using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Ledger;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Admin.Sales;

/// <summary>/api/v1/sales: everything that concerns a sale as a whole.</summary>
public static class SaleEndpoints
{
    /// <summary>Registers the services of the endpoints.</summary>
    public static void AddSales(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<SaleStore>();
        builder.Services.AddSingleton<SaleReader>();
        builder.Services.AddSingleton<SaleTransitions>();
        builder.Services.AddSingleton<SaleWindows>();
        builder.Services.AddSingleton<CatalogPublisher>();
        builder.Services.AddSingleton<RedisHeadroom>();
        builder.Services.AddSingleton<RedisLog>();
        builder.Services.AddSingleton<SaleLoader>();
        builder.Services.AddSingleton<SaleLoads>();
    }

    /// <summary>Maps the endpoints.</summary>
    public static void MapSales(this WebApplication app)
    {
        var sales = app.MapGroup("/api/v1/sales").WithTags("Sales");
        sales.MapPost("", CreateAsync).For(AdminRole.Manager).Accepts<SaleBody>("application/json").Produces<SalePage>(StatusCodes.Status201Created);
        sales.MapGet("", ListAsync).For(AdminRole.Viewer).Produces<SaleList>();
        sales.MapGet("{saleId}", ShowAsync).For(AdminRole.Viewer).Produces<SalePage>();
        sales.MapPut("{saleId}", ReplaceAsync).For(AdminRole.Manager).WithMetadata(new TakesIfMatch()).Accepts<SaleBody>("application/json").Produces<SalePage>()
            .WithDescription("Replaces a draft as a whole, its items too. With If-Match: <ETag> only if nobody has changed it since, else 412.");
        sales.MapDelete("{saleId}", DeleteAsync).For(AdminRole.Manager).WithMetadata(new TakesIfMatch()).Produces(StatusCodes.Status204NoContent).WithDescription("Deletes a draft.");
        sales.MapPost("{saleId}/window", SaleWindowEndpoint.MoveAsync).For(AdminRole.Manager).WithMetadata(new TakesIfMatch()).Accepts<WindowBody>("application/json").Produces<SalePage>()
            .WithDescription("Moves the times of a preloaded sale: opensAt until it has opened, closesAt until it is closed by a manager.");
        sales.MapPost("{saleId}/preload", (HttpContext context, string saleId, SaleLoads loads) => loads.LoadAsync(saleId, "sale.preload", context))
            .For(AdminRole.Manager).Produces<LoadPage>();
        sales.MapPost("{saleId}/rebuild", (HttpContext context, string saleId, SaleLoads loads) => loads.LoadAsync(saleId, "sale.rebuild", context))
            .For(AdminRole.Operator).Produces<LoadPage>();
        MapAction("open", SaleAction.Open);
        MapAction("pause", SaleAction.Pause);
        MapAction("resume", SaleAction.Resume);
        MapAction("close", SaleAction.Close).WithDescription("Ends the sale for good. A worker counts its orders afterwards; the ledger tells what was found.");

        RouteHandlerBuilder MapAction(string name, SaleAction action) =>
            sales.MapPost($"{{saleId}}/{name}", (HttpContext context, string saleId, SaleTransitions transitions) => ActAsync(context, saleId, action, transitions))
                .For(AdminRole.Manager).Produces<SalePage>();
    }

    private static async Task<IResult> CreateAsync(HttpContext context, SaleStore store, SaleReader sales)
    {
        var (draft, refused) = await JsonForm.ReadAsync(context.Request, SaleForm.Read);
        if (draft is null) return refused!;
        var saleId = await store.CreateAsync(draft, context.Actor(), context.RequestAborted);
        var page = await PageAsync(saleId, sales, context.RequestAborted);
        if (page is not null) context.Tag(page.Tag);
        return Results.Created($"/api/v1/sales/{saleId}", page);
    }

    private static async Task<IResult> ListAsync(HttpContext context, SaleReader sales, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, Paging.IsNumber);
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var read = await sales.ListAsync(paging.Limit + 1, paging.AfterNumber, context.RequestAborted);
        var (page, next) = paging.Cut(read, sale => SaleSummary.Of(sale, sales.Now(sale)), sale => sale.Number);
        return Results.Ok(new SaleList(page, next));
    }

    private static async Task<IResult> ShowAsync(HttpContext context, string saleId, SaleReader sales) =>
        await PageAsync(saleId, sales, context.RequestAborted) is { } page ? page.Tagged(context) : AdminProblems.SaleNotFound;

    private static async Task<IResult> ReplaceAsync(HttpContext context, string saleId, SaleStore store, SaleReader sales)
    {
        if (!context.Request.TryReadIfMatch(out var versions, out var error)) return AdminProblems.Invalid([error]);
        var (draft, refused) = await JsonForm.ReadAsync(context.Request, SaleForm.Read);
        if (draft is null) return refused!;
        var result = await store.ReplaceAsync(saleId, draft, versions, context.Actor(), context.RequestAborted);
        if (result is not DraftResult.Done) return AdminProblems.Of(result);
        return await PageAsync(saleId, sales, context.RequestAborted) is { } page ? page.Tagged(context) : AdminProblems.SaleNotFound;
    }

    private static async Task<IResult> DeleteAsync(HttpContext context, string saleId, SaleStore store) =>
        context.Request.TryReadIfMatch(out var versions, out var error)
            ? AdminProblems.Of(await store.DeleteAsync(saleId, versions, context.Actor(), CancellationToken.None))
            : AdminProblems.Invalid([error]);

    // An action that has begun is carried through, even if the manager does not wait any more. No action waits for a
    // count of orders, because a count that fails or takes long must not keep a sale open.
    private static async Task<IResult> ActAsync(HttpContext context, string saleId, SaleAction action, SaleTransitions transitions) =>
        AdminProblems.Of(action, await transitions.ApplyAsync(saleId, action, context.Actor(), CancellationToken.None),
            done => SalePage.Of(done.Sale!, rebuildRequired: false, done.Now).Tagged(context));

    private static async Task<SalePage?> PageAsync(string saleId, SaleReader sales, CancellationToken cancellation) =>
        await sales.ReadAsync(saleId, cancellation) is { } head
            ? SalePage.Of(head.With(await sales.ItemsAsync(saleId, cancellation)), head.RebuildRequired, sales.Now(head))
            : null;
}
