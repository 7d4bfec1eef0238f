namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// The environment that scripts/test.sh hands to the tests. A missing server is a failure, never a reason to skip.
/// </summary>
public static class TestEnvironment
{
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif

    /// <summary>The libpq URI of a Postgres on which databases may be created.</summary>
    public static string Postgres => Required("FLASHSALE_POSTGRES");

    /// <summary>The amqp URI of a RabbitMQ administrator.</summary>
    public static string RabbitMq => Required("FLASHSALE_RABBITMQ");

    /// <summary>A command that runs rabbitmqctl against that broker.</summary>
    public static string RabbitMqCtl => Required("FLASHSALE_RABBITMQ_CTL");

    /// <summary>
    /// The assembly of a host: the one that scripts/test.sh has published, else the output of the last build.
    /// </summary>
    /// <param name="host">Api, Admin, Worker or PaymentSandbox.</param>
    public static string HostAssembly(string host)
    {
        var published = Environment.GetEnvironmentVariable("FLASHSALE_TEST_HOSTS");
        var path = string.IsNullOrEmpty(published)
            ? Path.Combine(RepositoryRoot(), "src", $"FlashSale.{host}", "bin", Configuration, "net10.0", $"FlashSale.{host}.dll")
            : Path.Combine(published, host == "PaymentSandbox" ? "payments" : host.ToLowerInvariant(), $"FlashSale.{host}.dll");
        return File.Exists(path) ? path : throw new InvalidOperationException($"The host {path} is not there. Run ./scripts/test.sh.");
    }

    /// <summary>The root folder of the repository.</summary>
    public static string Repository => RepositoryRoot();

    private static string Required(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value
            ? value
            : throw new InvalidOperationException($"{variable} is not set: these tests need real servers. Run ./scripts/test.sh, which starts them.");

    private static string RepositoryRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "FlashSale.sln"))) folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException($"FlashSale.sln is in no folder above {AppContext.BaseDirectory}.");
    }
}
