using FlashSale.Platform;
using FlashSale.Worker;

return await HostRunner.RunAsync(args, async builder =>
{
    await builder.AddRedisAsync();
    builder.AddPostgres();
    builder.RequireSchema();
    builder.AddBroker();
    builder.AddRelay();
    builder.AddConsumer();
    builder.AddEvents();
    builder.AddKeeper();
    builder.AddOrderLife();
    builder.AddReconciliation();
    builder.AddRefunds();
    builder.AddBlocklist();

    var app = builder.Build();
    app.UseManagementPort();
    app.UseProblems(app.Logger);
    return app;
});
