using FlashSale.Api;
using FlashSale.Api.Orders;
using FlashSale.Api.Payments;
using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Platform;

return await HostRunner.RunAsync(args, async builder =>
{
    await builder.AddRedisAsync();
    builder.AddPostgres();
    builder.AddCrossOrigin();
    builder.AddSales();
    builder.AddPurchases();
    builder.AddOrders();
    builder.AddPayments();
    builder.AddOpenApiDocument();

    var app = builder.Build();
    app.UseManagementPort();
    app.UseCrossOrigin();
    app.UsePurchases();
    app.UseProblems(app.Logger);
    app.UseRouting();
    app.MapOpenApi();
    app.MapSales();
    app.MapPurchases();
    app.MapOrders();
    app.MapPayments();
    return app;
});
