using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Ledger;
using FlashSale.Sales;

namespace FlashSale.Admin.Sales;

/// <summary>/api/v1/sales: all that can be done with a sale as a whole.</summary>
public static class SaleEndpoints
{
    /// <summary>Registers what the endpoints need.</summary>
    public static void AddSales(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<SaleStore>();
        builder.Services.AddSingleton<SaleReader>();
        builder.Services.AddSingleton<SaleTransitions>();
        builder.Services.AddSingleton<CatalogPublisher>();
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
        sales.MapPut("{saleId}", ReplaceAsync).For(AdminRole.Manager).Accepts<SaleBody>("application/json").Produces<SalePage>();
        sales.MapPost("{saleId}/preload", (HttpContext context, string saleId, SaleLoads loads) => loads.LoadAsync(saleId, "sale.preload", context))
            .For(AdminRole.Manager).Produces<LoadPage>();
        sales.MapPost("{saleId}/rebuild", (HttpContext context, string saleId, SaleLoads loads) => loads.LoadAsync(saleId, "sale.rebuild", context))
            .For(AdminRole.Operator).Produces<LoadPage>();
        MapAction("open", SaleAction.Open);
        MapAction("pause", SaleAction.Pause);
        MapAction("resume", SaleAction.Resume);
        sales.MapPost("{saleId}/close", CloseAsync).For(AdminRole.Manager).Produces<SalePage>()
            .WithDescription("Ends the sale for good. Every order is counted first, which takes seconds for a million of them; the ledger tells what was found. To stop selling at once, pause.");

        void MapAction(string name, SaleAction action) =>
            sales.MapPost($"{{saleId}}/{name}", (HttpContext context, string saleId, SaleTransitions transitions) => ActAsync(context, saleId, action, transitions))
                .For(AdminRole.Manager).Produces<SalePage>();
    }

    private static async Task<IResult> CreateAsync(HttpContext context, SaleStore store, SaleReader sales)
    {
        var (draft, refused) = await JsonForm.ReadAsync(context.Request, SaleForm.Read);
        if (draft is null) return refused!;
        var saleId = await store.CreateAsync(draft, context.Actor(), context.RequestAborted);
        return Results.Created($"/api/v1/sales/{saleId}", await PageAsync(saleId, sales, context.RequestAborted));
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
        await PageAsync(saleId, sales, context.RequestAborted) is { } page ? Results.Ok(page) : AdminProblems.SaleNotFound;

    private static async Task<IResult> ReplaceAsync(HttpContext context, string saleId, SaleStore store, SaleReader sales)
    {
        var (draft, refused) = await JsonForm.ReadAsync(context.Request, SaleForm.Read);
        if (draft is null) return refused!;
        var result = await store.ReplaceAsync(saleId, draft, context.Actor(), context.RequestAborted);
        return result is DraftResult.Done ? Results.Ok(await PageAsync(saleId, sales, context.RequestAborted)) : AdminProblems.Of(result);
    }

    // An action that was begun is carried through, whether or not its manager still waits.
    private static async Task<IResult> ActAsync(HttpContext context, string saleId, SaleAction action, SaleTransitions transitions) =>
        AdminProblems.Of(action, await transitions.ApplyAsync(saleId, action, context.Actor(), CancellationToken.None),
            done => Results.Ok(SalePage.Of(done.Sale!, done.Now)));

    // What is wrong with the books does not keep a sale open; but whoever closes it finds it in the ledger.
    private static async Task<IResult> CloseAsync(HttpContext context, string saleId, SaleTransitions transitions, SaleReader sales, Reconciliation reconciliation)
    {
        if (await sales.ReadAsync(saleId, CancellationToken.None) is { Epoch: > 0 }) await reconciliation.CountAsync(saleId, CancellationToken.None);
        return await ActAsync(context, saleId, SaleAction.Close, transitions);
    }

    private static async Task<SalePage?> PageAsync(string saleId, SaleReader sales, CancellationToken cancellation) =>
        await sales.ReadAsync(saleId, cancellation) is { } head
            ? SalePage.Of(head.With(await sales.ItemsAsync(saleId, cancellation)), sales.Now(head))
            : null;
}
