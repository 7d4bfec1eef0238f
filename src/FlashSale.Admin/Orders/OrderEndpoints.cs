using FlashSale.Admin.Access;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;
using FlashSale.Admin.Stock;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Sales;
using Npgsql;

namespace FlashSale.Admin.Orders;

/// <summary>An order as managers see it.</summary>
public sealed record OrderPage(
    Guid OrderId, string SaleId, string Sku, string UserId, int Quantity, Money Amount, string Status, string? Reason,
    string AcceptedAt, string PlacedAt, string? PayBy, string? PaidAt, string? ClosedAt)
{
    /// <summary>Makes the page of an order.</summary>
    public static OrderPage Of(OrderRow order) => new(
        order.OrderId, order.SaleId, order.Sku, order.UserId, order.Quantity, new Money(order.Amount, order.Currency), order.Status, order.Reason,
        Moments.Text(order.AcceptedAt), Moments.Text(order.PlacedAt), Moments.Text(order.PayBy), Moments.Text(order.PaidAt), Moments.Text(order.ClosedAt));
}

/// <summary>The body of a refund, as OpenAPI shows it.</summary>
/// <param name="Reason">Why the order is refunded.</param>
/// <param name="ReturnUnits">Whether the units go back on sale, which is the default. With false they leave the
/// stock.</param>
public sealed record RefundBody(string Reason, bool? ReturnUnits);

/// <summary>The body of a cancellation, as OpenAPI shows it.</summary>
public sealed record CancelBody(string Reason);

/// <summary>A page of the orders, newest first. NextCursor is null on the last page.</summary>
public sealed record OrderList(IReadOnlyList<OrderPage> Orders, string? NextCursor);

/// <summary>/api/v1/orders, and the export of a sale's orders.</summary>
public static class OrderEndpoints
{
    private const string Statuses = "pending_payment, paid, cancelled, expired, rejected or refunded";

    /// <summary>Registers the services of the endpoints, and those of the dead letters.</summary>
    public static void AddOrders(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<OrderSearch>();
        builder.Services.AddSingleton<PaymentSearch>();
        builder.Services.AddDeadLetters();
    }

    /// <summary>Maps the endpoints, and those of the payments.</summary>
    public static void MapOrders(this WebApplication app)
    {
        app.MapGet("/api/v1/orders", ListAsync).WithTags("Orders").For(AdminRole.Viewer).Produces<OrderList>()
            .WithDescription("Stored orders, newest first. from (inclusive) and to (exclusive) are compared with acceptedAt.");
        app.MapPost("/api/v1/orders/{orderId}/refund", RefundAsync).WithTags("Orders").For(AdminRole.Operator).Accepts<RefundBody>("application/json").Produces<OrderPage>()
            .WithDescription("Gives a paid order back: its units return to the sale, and the provider is asked to refund the payment until it confirms. "
                + "With returnUnits false the units leave the stock instead, as goods that were handed out.");
        app.MapGet("/api/v1/orders/{orderId}", ShowAsync).WithTags("Orders").For(AdminRole.Viewer).Produces<OrderHistoryPage>()
            .WithDescription("A stored order and all that happened to it, oldest first.");
        app.MapPost("/api/v1/orders/{orderId}/cancel", CancelAsync).WithTags("Orders").For(AdminRole.Operator)
            .Accepts<CancelBody>("application/json").Produces<OrderPage>()
            .WithDescription("Ends an order that waits for its payment: its units return to the sale, and a payment that comes all the same is refunded.");
        PaymentEndpoints.Map(app);
        app.MapGet("/api/v1/sales/{saleId}/orders.csv", OrderExport.ExportAsync).WithTags("Orders").For(AdminRole.Manager).Produces<string>(contentType: "text/csv");
    }

    private static async Task<IResult> ShowAsync(HttpContext context, string orderId, OrderSearch orders) =>
        Guid.TryParseExact(orderId, "D", out var id) && await orders.FindAsync(id, context.RequestAborted) is { } order
            ? Results.Ok(OrderHistoryPage.Of(order, await orders.HistoryAsync(id, context.RequestAborted)))
            : AdminProblems.OrderNotFound;

    private static async Task<IResult> CancelAsync(HttpContext context, string orderId, OrderSearch orders, NpgsqlDataSource postgres)
    {
        var (reason, refused) = await JsonForm.ReadAsync(context.Request, (form, _) => form.Text("reason", StockEndpoints.IsReason, StockEndpoints.ReasonRule));
        if (reason is null) return refused!;
        if (!Guid.TryParseExact(orderId, "D", out var id) || await orders.FindAsync(id, CancellationToken.None) is not { } before) return AdminProblems.OrderNotFound;
        // The cancellation is carried through, even if the operator does not wait any more.
        await using var connection = await postgres.OpenConnectionAsync(CancellationToken.None);
        await using var transaction = await connection.BeginTransactionAsync(CancellationToken.None);
        if (await OrderMoves.CancelAsync(transaction, id, before.SaleId, reason))
        {
            await AuditLog.WriteAsync(
                transaction, context.Actor(), "order.cancel", $"{id}", new { before.Status }, new { status = OrderStatus.Cancelled.Text(), reason });
            await transaction.CommitAsync(CancellationToken.None);
        }
        var now = (await orders.FindAsync(id, CancellationToken.None))!;
        return now.Status == OrderStatus.Cancelled.Text() ? Results.Ok(OrderPage.Of(now)) : AdminProblems.OrderNotCancellable(now.Status);
    }

    private static async Task<IResult> RefundAsync(HttpContext context, string orderId, OrderSearch orders, NpgsqlDataSource postgres)
    {
        var (wanted, refused) = await JsonForm.ReadAsync(context.Request, (form, _) => new RefundBody(
            form.Text("reason", StockEndpoints.IsReason, StockEndpoints.ReasonRule), form.OptionalFlag("returnUnits")));
        if (wanted is null) return refused!;
        if (!Guid.TryParseExact(orderId, "D", out var id) || await orders.FindAsync(id, CancellationToken.None) is not { } before) return AdminProblems.OrderNotFound;
        // The refund is carried through, even if the operator does not wait any more.
        await using var connection = await postgres.OpenConnectionAsync(CancellationToken.None);
        await using var transaction = await connection.BeginTransactionAsync(CancellationToken.None);
        if (await OrderMoves.RefundAsync(transaction, id, before.SaleId, wanted.Reason, wanted.ReturnUnits ?? true, context.Actor()))
        {
            await AuditLog.WriteAsync(transaction, context.Actor(), "order.refund", $"{id}", new { before.Status },
                new { status = OrderStatus.Refunded.Text(), wanted.Reason, returnUnits = wanted.ReturnUnits ?? true });
            await transaction.CommitAsync(CancellationToken.None);
        }
        var now = (await orders.FindAsync(id, CancellationToken.None))!;
        return now.Status == OrderStatus.Refunded.Text() ? Results.Ok(OrderPage.Of(now)) : AdminProblems.OrderNotRefundable(now.Status);
    }

    private static async Task<IResult> ListAsync(
        HttpContext context, OrderSearch orders, string? saleId, string? sku, string? userId, string? status, string? from, string? to, string? limit, string? cursor)
    {
        var errors = new FormErrors();
        var paging = Paging.Read(context.Request.Query, errors, key => Guid.TryParseExact(key, "D", out _));
        Check(saleId, "saleId", text => SaleBounds.IsSaleId(text), "a sale id");
        Check(sku, "sku", text => SaleBounds.IsSku(text), SaleForm.SkuRule);
        Check(userId, "userId", text => UserId.IsValid(text), UserId.Rule);
        Check(status, "status", text => text != "accepted" && Enum.GetValues<OrderStatus>().Any(known => known.Text() == text), Statuses);
        var filter = new OrderFilter(saleId, sku, userId, status, Time(from, "from"), Time(to, "to"), paging.After is null ? null : Guid.ParseExact(paging.After, "D"));
        if (errors.Any) return AdminProblems.Invalid(errors.All);
        var (page, next) = paging.Cut(await orders.FindAsync(filter, paging.Limit + 1, context.RequestAborted), OrderPage.Of, order => order.OrderId);
        return Results.Ok(new OrderList(page, next));

        void Check(string? text, string name, Predicate<string> isValid, string rule)
        {
            if (text is not null && !isValid(text)) errors.Add(name, $"must be {rule}");
        }

        DateTimeOffset? Time(string? text, string name)
        {
            if (text is null) return null;
            // In a query an unescaped plus sign stands for a blank.
            if (Timestamps.TryRead(text.Replace(' ', '+'), out var milliseconds)) return DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);
            errors.Add(name, $"must be {Timestamps.Rule}");
            return null;
        }
    }
}
