using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>A host that is configured wrongly does not start, and says which setting, its value and what is allowed.</summary>
public sealed class BadConfigurationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int BadConfiguration = 78;

    [Theory]
    [InlineData("Api", "Redis__Endpoint", "", "Redis:Endpoint", "required")]
    [InlineData("Api", "Redis__Endpoint", "nowhere", "Redis:Endpoint", "nowhere", "host:port")]
    [InlineData("Api", "Redis__Endpoint", "redis://127.0.0.1:6379", "Redis:Endpoint", "host:port")]
    [InlineData("Api", "Redis__Endpoint", "127.0.0.1:6379,ssl=true", "Redis:Endpoint", "host:port")]
    [InlineData("Api", "Redis__Pasword", "x", "Redis:Pasword", "no such setting")]
    [InlineData("Admin", "Admin__Tokens__0__Rolle", "x", "Admin:Tokens:0:Rolle", "no such setting")]
    [InlineData("Api", "Postgres__Url", "postgresql://u@127.0.0.1/d?nosuch=1", "Postgres:Url", "'nosuch'", "sslmode")]
    [InlineData("Api", "Payments__BaseUrl", "http://127.0.0.1/?x=1", "Payments:BaseUrl", "without user and query")]
    [InlineData("Worker", "RabbitMq__Url", "amqp://127.0.0.1/?nosuch=1", "RabbitMq:Url", "'nosuch'", "heartbeat")]
    [InlineData("Worker", "RabbitMq__Url", "amqp://127.0.0.1:5671/", "RabbitMq:Url", "amqps://")]
    [InlineData("Api", "Redis__DeadlineMilliseconds", "1", "Redis:DeadlineMilliseconds", "'1'", "50", "60000")]
    [InlineData("Api", "Redis__DeadlineMilliseconds", "soon", "Redis:DeadlineMilliseconds", "soon")]
    [InlineData("Api", "Postgres__Url", "localhost", "Postgres:Url", "postgresql://")]
    [InlineData("Api", "Postgres__MaxPoolSize", "0", "Postgres:MaxPoolSize", "'0'", "1", "1000")]
    [InlineData("Api", "Jwt__Issuer", "", "Jwt:Issuer")]
    [InlineData("Api", "Jwt__ClockSkewSeconds", "301", "Jwt:ClockSkewSeconds", "'301'", "0 to 300")]
    [InlineData("Api", "Jwt__Keys__0__Secret", "short", "Jwt:Keys:0", "32")]
    [InlineData("Api", "Urls", "http://127.0.0.1:65000", "Urls", "65000", "64535")]
    [InlineData("Api", "Admission__TicketKey", "", "Admission:TicketKey", "required")]
    [InlineData("Api", "Admission__TicketKey", "a-ticket-key-of-31-bytes-......", "Admission:TicketKey", "32 bytes")]
    [InlineData("Api", "Admission__TicketSeconds", "0", "Admission:TicketSeconds", "'0'", "1 to 3600")]
    [InlineData("Api", "Admission__Challenge", "perhaps", "Admission:Challenge", "'perhaps'", "off or on")]
    [InlineData("Api", "Admission__ChallengeMaxNumber", "999", "Admission:ChallengeMaxNumber", "'999'", "1000 to 10000000")]
    [InlineData("Api", "Admission__ChallengeSeconds", "3601", "Admission:ChallengeSeconds", "'3601'", "1 to 3600")]
    [InlineData("Api", "Transport__MaxConnections", "0", "Transport:MaxConnections", "'0'", "1 to 1000000")]
    [InlineData("Api", "Transport__HeadersTimeoutSeconds", "never", "Transport:HeadersTimeoutSeconds", "never")]
    [InlineData("Api", "Transport__KeepAliveSeconds", "3601", "Transport:KeepAliveSeconds", "'3601'", "1 to 3600")]
    [InlineData("Admin", "Transport__RateGraceSeconds", "1", "Transport:RateGraceSeconds", "'1'", "2 to 60")]
    [InlineData("Api", "Cors__Origins__0", "*", "Cors:Origins:0", "'*'", "host[:port]")]
    [InlineData("Api", "Cors__Origins__0", "shop.example", "Cors:Origins:0", "'shop.example'")]
    [InlineData("Api", "Cors__Origins__0", "https://shop.example/", "Cors:Origins:0", "'https://shop.example/'")]
    [InlineData("Api", "Cors__Origins__0", "https://*.shop.example", "Cors:Origins:0", "'https://*.shop.example'")]
    [InlineData("Api", "Cors__Origins__0", "null", "Cors:Origins:0", "'null'")]
    [InlineData("Api", "Webhook__Secret", "", "Webhook:Secret", "required")]
    [InlineData("Api", "Webhook__Secret", "whsec_hush-hush", "Webhook:Secret", "whsec_", "24 to 64")]
    [InlineData("Api", "Webhook__PreviousSecret", "whsec_hush-hush", "Webhook:PreviousSecret", "whsec_")]
    [InlineData("Api", "Payments__BaseUrl", "nowhere", "Payments:BaseUrl", "'nowhere'", "http")]
    [InlineData("Api", "Payments__ApiKey", "", "Payments:ApiKey", "required")]
    [InlineData("Api", "Dependencies__Payments__TimeoutMilliseconds", "49", "Dependencies:Payments:TimeoutMilliseconds", "'49'", "50 to 120000")]
    [InlineData("Worker", "Dependencies__Payments__Retries", "11", "Dependencies:Payments:Retries", "'11'", "0 to 10")]
    [InlineData("Worker", "Refunds__LongestRetrySeconds", "0", "Refunds:LongestRetrySeconds", "'0'", "1 to 3600")]
    [InlineData("PaymentSandbox", "Sandbox__Outcome", "perhaps", "Sandbox:Outcome", "perhaps", "never")]
    [InlineData("PaymentSandbox", "Sandbox__WebhookUrl", "nowhere", "Sandbox:WebhookUrl", "nowhere")]
    [InlineData("Worker", "Redis__Endpoint", "", "Redis:Endpoint", "required")]
    [InlineData("Worker", "RabbitMq__Url", "http://nowhere", "RabbitMq:Url")]
    [InlineData("Worker", "Relay__RepublishAfterSeconds", "0", "Relay:RepublishAfterSeconds", "'0'")]
    [InlineData("Worker", "Postgres__MaxPoolSize", "5", "Postgres:MaxPoolSize", "'5'", "6 to 1000")]
    [InlineData("Worker", "Events__KeepDays", "0", "Events:KeepDays", "'0'", "1 to 3650")]
    [InlineData("Worker", "Postgres__Url", "", "Postgres:Url", "required")]
    [InlineData("Admin", "Postgres__Url", "", "Postgres:Url", "required")]
    [InlineData("Admin", "Admin__Tokens__0__Role", "emperor", "Admin:Tokens:0:Role", "emperor", "operator")]
    [InlineData("Admin", "Admin__Tokens__0__Sha256", "zz", "Admin:Tokens:0:Sha256")]
    public async Task A_wrong_setting_stops_the_host_at_start(string host, string setting, string value, params string[] told)
    {
        var settings = Stack.Settings();
        settings["Sandbox__ApiKey"] = Provider.ApiKey;
        settings["Sandbox__WebhookSecret"] = Provider.WebhookSecret;
        settings["Sandbox__WebhookUrl"] = new Uri(Stack.Api.Url, "/api/v1/payments/webhook").AbsoluteUri;
        settings[setting] = value;
        await using var process = new HostProcess(host, settings);
        await process.LaunchAsync();
        var code = await process.ExitAsync(TimeSpan.FromSeconds(20));
        Assert.True(code == BadConfiguration, $"It ended with {code}: {process.Output}");
        Assert.All(told, part => Assert.Contains(part, process.Output));
        Assert.DoesNotContain("   at ", process.Output);
    }

    [Theory]
    [InlineData("Api", "Jwt__Keys__0__Secret", "a-secret-too-short")]
    [InlineData("Api", "Webhook__Secret", "whsec_hush-hush")]
    [InlineData("Api", "Admission__TicketKey", "hush-hush")]
    [InlineData("Api", "Postgres__Url", "http://user:hush-hush@nowhere/db")]
    [InlineData("Worker", "RabbitMq__Url", "http://user:hush-hush@nowhere/")]
    public async Task A_wrong_secret_is_not_shown(string host, string setting, string value)
    {
        var settings = Stack.Settings();
        settings[setting] = value;
        await using var process = new HostProcess(host, settings);
        await process.LaunchAsync();
        Assert.Equal(BadConfiguration, await process.ExitAsync(TimeSpan.FromSeconds(20)));
        Assert.DoesNotContain("hush-hush", process.Output);
        Assert.DoesNotContain("a-secret-too-short", process.Output);
    }

    [Theory]
    [InlineData("Api", "flashsale_connections_refused_total", "flashsale_shed_total{path=\"purchase\"}", "flashsale_dependency_rejections_total{dependency=\"redis\",reason=\"open\"}")]
    [InlineData("Admin", "flashsale_connections_refused_total", "flashsale_dependency_breaker_openings_total{dependency=\"postgres\"}")]
    [InlineData("Worker", "flashsale_dependency_breaker_openings_total{dependency=\"postgres\"}")]
    public async Task A_host_begins_with_its_counters_at_0_and_ends_in_order_when_told_to(string host, params string[] counters)
    {
        var process = Stack.AddHost(host);
        await process.StartAsync();
        foreach (var counter in counters) Assert.Equal(0, await Figures.ShownAsync(process, counter));
        Assert.Equal(0, await process.StopAsync());
    }
}
