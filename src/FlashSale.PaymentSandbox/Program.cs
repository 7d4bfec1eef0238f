using FlashSale.PaymentSandbox;
using FlashSale.Platform;

// The sandbox stands in for a payment provider, which is a third party. So it shares nothing with the hosts but HTTP
// and the webhook secret. Its payments live in memory: nobody's money is in them, and a restart begins anew.
return await HostRunner.RunAsync(args, builder =>
{
    builder.AddSandbox();

    var app = builder.Build();
    app.UseManagementPort();
    app.UseProblems(app.Logger);
    app.UseRouting();
    app.MapProviderApi();
    app.MapPayPages();
    app.MapBehaviour();
    return Task.FromResult(app);
});
