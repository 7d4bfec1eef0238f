using FlashSale.Admin.Access;
using FlashSale.Admin.Audit;
using FlashSale.Admin.Blocklist;
using FlashSale.Admin.Http;
using FlashSale.Admin.Ops;
using FlashSale.Admin.Orders;
using FlashSale.Admin.Sales;
using FlashSale.Admin.Stock;
using FlashSale.Platform;

return await HostRunner.RunAsync(args, async builder =>
{
    await builder.AddRedisAsync();
    builder.AddPostgres();
    builder.AddAccess();
    builder.AddSales();
    builder.AddStock();
    builder.AddOrders();
    builder.AddOps();
    builder.AddBlocklist();
    builder.AddHttp();

    var app = builder.Build();
    app.UseManagementPort();
    app.UseProblems(app.Logger);
    app.UseDocs();
    app.UseRouting();
    app.UseAccess();
    app.UseSchemaGuard();
    app.MapDocument();
    app.MapSales();
    app.MapItemImport();
    app.MapStock();
    app.MapOrders();
    app.MapDeadLetters();
    app.MapOps();
    app.MapBlocklist();
    app.MapBlocklistImport();
    app.MapAudit();
    return app;
});
