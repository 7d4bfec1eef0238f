using FlashSale.Api;
using FlashSale.Api.Admission;
using FlashSale.Api.Orders;
using FlashSale.Api.Payments;
using FlashSale.Api.Protection;
using FlashSale.Api.Purchase;
using FlashSale.Api.Sales;
using FlashSale.Platform;

return await HostRunner.RunAsync(args, async builder =>
{
    builder.AnswerInPlace();
    await builder.AddRedisAsync();
    builder.AddPostgres();
    builder.AddProtection();
    builder.AddCrossOrigin();
    builder.AddSales();
    builder.AddBlocklist();
    builder.AddAdmission();
    builder.AddPurchases();
    builder.AddOrders();
    builder.AddPayments();
    builder.AddOpenApiDocument();

    var app = builder.Build();
    app.UseManagementPort();
    app.UseTrustedProxies();
    app.UseCrossOrigin();
    app.UsePurchases();
    app.UseProblems(app.Logger);
    app.UseProtection();
    app.UseDocs();
    app.UseRouting();
    app.MapOpenApi();
    app.MapSales();
    app.MapAdmission();
    app.MapPurchases();
    app.MapOrders();
    app.MapPayments();
    return app;
});
