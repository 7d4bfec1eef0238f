using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Platform;

/// <summary>
/// A host with a wrong setting does not start, and names the setting, its value and the allowed values.
/// </summary>
public sealed class BadConfigurationTests(OneOfEach fixture, ITestOutputHelper output) : StackTest(fixture, output), IClassFixture<OneOfEach>
{
    private const int BadConfiguration = 78;

    private static readonly Wrong[] WrongSettings =
    [
        new("Api", "Redis__Endpoint", "", "Redis:Endpoint", "required"),
        new("Api", "Redis__Endpoint", "nowhere", "Redis:Endpoint", "nowhere", "host:port"),
        new("Api", "Redis__Endpoint", "redis://127.0.0.1:6379", "Redis:Endpoint", "host:port"),
        new("Api", "Redis__Endpoint", "127.0.0.1:6379,ssl=true", "Redis:Endpoint", "host:port"),
        new("Api", "Redis__Pasword", "x", "Redis:Pasword", "no such setting"),
        new("Admin", "Admin__Tokens__0__Rolle", "x", "Admin:Tokens:0:Rolle", "no such setting"),
        new("Api", "Postgres__Url", "postgresql://u@127.0.0.1/d?nosuch=1", "Postgres:Url", "'nosuch'", "sslmode"),
        new("Api", "Payments__BaseUrl", "http://127.0.0.1/?x=1", "Payments:BaseUrl", "without user and query"),
        new("Worker", "RabbitMq__Url", "amqp://127.0.0.1/?nosuch=1", "RabbitMq:Url", "'nosuch'", "heartbeat"),
        new("Worker", "RabbitMq__Url", "amqp://127.0.0.1:5671/", "RabbitMq:Url", "amqps://"),
        new("Api", "Redis__DeadlineMilliseconds", "1", "Redis:DeadlineMilliseconds", "'1'", "50", "60000"),
        new("Api", "Redis__DeadlineMilliseconds", "soon", "Redis:DeadlineMilliseconds", "soon"),
        new("Api", "Postgres__Url", "localhost", "Postgres:Url", "postgresql://"),
        new("Api", "Postgres__MaxPoolSize", "0", "Postgres:MaxPoolSize", "'0'", "1", "1000"),
        new("Api", "Jwt__Issuer", "", "Jwt:Issuer"),
        new("Api", "Jwt__ClockSkewSeconds", "301", "Jwt:ClockSkewSeconds", "'301'", "0 to 300"),
        new("Api", "Jwt__Keys__0__Secret", "short", "Jwt:Keys:0", "32"),
        new("Api", "Urls", "http://127.0.0.1:65000", "Urls", "65000", "64535"),
        new("Api", "Admission__TicketKey", "", "Admission:TicketKey", "required"),
        new("Api", "Admission__TicketKey", "a-ticket-key-of-31-bytes-......", "Admission:TicketKey", "32 bytes"),
        new("Api", "Admission__TicketSeconds", "0", "Admission:TicketSeconds", "'0'", "1 to 3600"),
        new("Api", "Admission__Challenge", "perhaps", "Admission:Challenge", "'perhaps'", "off or on"),
        new("Api", "Admission__ChallengeMaxNumber", "999", "Admission:ChallengeMaxNumber", "'999'", "1000 to 10000000"),
        new("Api", "Admission__ChallengeSeconds", "3601", "Admission:ChallengeSeconds", "'3601'", "1 to 3600"),
        new("Api", "Transport__MaxConnections", "0", "Transport:MaxConnections", "'0'", "1 to 1000000"),
        new("Api", "Transport__HeadersTimeoutSeconds", "never", "Transport:HeadersTimeoutSeconds", "never"),
        new("Api", "Transport__KeepAliveSeconds", "3601", "Transport:KeepAliveSeconds", "'3601'", "1 to 3600"),
        new("Admin", "Transport__RateGraceSeconds", "1", "Transport:RateGraceSeconds", "'1'", "2 to 60"),
        new("Api", "Cors__Origins__0", "*", "Cors:Origins:0", "'*'", "host[:port]"),
        new("Api", "Cors__Origins__0", "shop.example", "Cors:Origins:0", "'shop.example'"),
        new("Api", "Cors__Origins__0", "https://shop.example/", "Cors:Origins:0", "'https://shop.example/'"),
        new("Api", "Cors__Origins__0", "https://*.shop.example", "Cors:Origins:0", "'https://*.shop.example'"),
        new("Api", "Cors__Origins__0", "null", "Cors:Origins:0", "'null'"),
        new("Api", "Webhook__Secret", "", "Webhook:Secret", "required"),
        new("Api", "Webhook__Secret", "whsec_hush-hush", "Webhook:Secret", "whsec_", "24 to 64"),
        new("Api", "Webhook__PreviousSecret", "whsec_hush-hush", "Webhook:PreviousSecret", "whsec_"),
        new("Api", "Payments__BaseUrl", "nowhere", "Payments:BaseUrl", "'nowhere'", "http"),
        new("Api", "Payments__ApiKey", "", "Payments:ApiKey", "required"),
        new("Api", "Dependencies__Payments__TimeoutMilliseconds", "49", "Dependencies:Payments:TimeoutMilliseconds", "'49'", "50 to 120000"),
        new("Worker", "Dependencies__Payments__Retries", "11", "Dependencies:Payments:Retries", "'11'", "0 to 10"),
        new("Worker", "Refunds__LongestRetrySeconds", "0", "Refunds:LongestRetrySeconds", "'0'", "1 to 3600"),
        new("PaymentSandbox", "Sandbox__Outcome", "perhaps", "Sandbox:Outcome", "perhaps", "never"),
        new("PaymentSandbox", "Sandbox__WebhookUrl", "nowhere", "Sandbox:WebhookUrl", "nowhere"),
        new("Worker", "Redis__Endpoint", "", "Redis:Endpoint", "required"),
        new("Worker", "RabbitMq__Url", "http://nowhere", "RabbitMq:Url"),
        new("Worker", "Relay__RepublishAfterSeconds", "0", "Relay:RepublishAfterSeconds", "'0'"),
        new("Worker", "Postgres__MaxPoolSize", "5", "Postgres:MaxPoolSize", "'5'", "6 to 1000"),
        new("Worker", "Events__KeepDays", "0", "Events:KeepDays", "'0'", "1 to 3650"),
        new("Worker", "Postgres__Url", "", "Postgres:Url", "required"),
        new("Admin", "Postgres__Url", "", "Postgres:Url", "required"),
        new("Admin", "Admin__Tokens__0__Role", "emperor", "Admin:Tokens:0:Role", "emperor", "operator"),
        new("Admin", "Admin__Tokens__0__Sha256", "zz", "Admin:Tokens:0:Sha256"),
    ];

    [Theory]
    [InlineData("Api")]
    [InlineData("Admin")]
    [InlineData("Worker")]
    [InlineData("PaymentSandbox")]
    public async Task A_wrong_setting_stops_the_host_at_start(string host) =>
        // Run four at once, because a start keeps one core busy for two seconds.
        await Parallel.ForEachAsync(WrongSettings.Where(wrong => wrong.Host == host), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (wrong, _) => await AssertRefusedAsync(wrong));

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
    [InlineData("Admin", "flashsale_connections_refused_total")]
    [InlineData("Worker", "flashsale_dependency_breaker_openings_total{dependency=\"rabbitmq\"}")]
    public async Task A_host_begins_with_its_counters_at_0_and_ends_in_order_when_told_to(string host, params string[] counters)
    {
        var process = Stack.AddHost(host);
        await process.StartAsync();
        foreach (var counter in counters) Assert.Equal(0, await Figures.ShownAsync(process, counter));
        Assert.Equal(0, await process.StopAsync());
    }

    private async Task AssertRefusedAsync(Wrong wrong)
    {
        var settings = Stack.Settings();
        settings["Sandbox__ApiKey"] = Provider.ApiKey;
        settings["Sandbox__WebhookSecret"] = Provider.WebhookSecret;
        settings["Sandbox__WebhookUrl"] = new Uri(Stack.Api.Url, "/api/v1/payments/webhook").AbsoluteUri;
        settings[wrong.Setting] = wrong.Value;
        await using var process = new HostProcess(wrong.Host, settings);
        await process.LaunchAsync();
        var code = await process.ExitAsync(TimeSpan.FromSeconds(30));
        Assert.True(code == BadConfiguration, $"{wrong.Host} with {wrong.Setting}={wrong.Value} ended with {code}: {process.Output}");
        Assert.All(wrong.Told, part => Assert.Contains(part, process.Output));
        Assert.DoesNotContain("   at ", process.Output);
    }

    private sealed record Wrong(string Host, string Setting, string Value, params string[] Told);
}
