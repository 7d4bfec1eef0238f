using System.Text;
using StackExchange.Redis;

namespace FlashSale.BareEndpoint;

/// <summary>
/// Serves two endpoints, written plainly with the framework's defaults. POST /bare reads a purchase as JSON, makes one
/// Redis call and answers with JSON of the product's size. POST /sold-out answers with a refusal of the product's size.
/// It neither reads the request nor calls Redis.
/// There is no authentication and no check, and the host counts nothing.
/// Settings: Bare:Redis (host:port), Bare:AcceptedBytes and Bare:SoldOutBytes (sizes of the product's bodies).
/// </summary>
internal static class BareHost
{
    // Every flash sale needs at least this work: take a unit from the stock and record the buyer.
    private const string Script = """
        local left = redis.call('DECRBY', KEYS[1], 1)
        redis.call('XADD', KEYS[2], '*', 'r', ARGV[1])
        return left
        """;

    private static readonly RedisKey[] Keys = [Encoding.UTF8.GetBytes("bare:{b}:stock"), Encoding.UTF8.GetBytes("bare:{b}:outbox")];

    // The value is as long as a reservation's record, because Redis writes it to the append-only file too.
    private static readonly RedisValue[] Arguments = [new byte[110]];

    public static async Task<int> RunAsync(string[] args)
    {
        var builder = WebApplication.CreateSlimBuilder(args);
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.AddServerHeader = false);
        var settings = builder.Configuration.GetSection("Bare");
        await using var redis = new Connection(await ConnectAsync(settings["Redis"] ?? "127.0.0.1:6379"));
        var database = redis.Multiplexer.GetDatabase();
        var hash = Convert.FromHexString((string)(await database.ExecuteAsync("SCRIPT", "LOAD", Script))!);
        var padding = new string('x', Math.Max(settings.GetValue("AcceptedBytes", 380) - 150, 0));
        var soldOut = Json(settings.GetValue("SoldOutBytes", 180));

        await using var app = builder.Build();
        app.MapPost("/bare", async (Purchase purchase) =>
        {
            var left = (long)await database.ScriptEvaluateAsync(hash, Keys, Arguments);
            var order = new Order("00000000-0000-8000-8000-000000000000", "s1", purchase.Sku, purchase.Quantity, 9900, "CNY", padding);
            return left < 0 ? Results.Conflict() : Results.Accepted("/api/v1/orders/00000000-0000-8000-8000-000000000000", order);
        });
        app.MapPost("/sold-out", context =>
        {
            context.Response.StatusCode = StatusCodes.Status409Conflict;
            context.Response.ContentType = "application/problem+json";
            context.Response.ContentLength = soldOut.Length;
            return context.Response.Body.WriteAsync(soldOut, 0, soldOut.Length);
        });
        await app.RunAsync();
        return 0;
    }

    private static byte[] Json(int size) => Encoding.ASCII.GetBytes($"{{\"a\":\"{new string('x', Math.Max(size - 8, 0))}\"}}");

    // These are the product's settings. See Platform/RedisClient.cs.
    private static Task<ConnectionMultiplexer> ConnectAsync(string endpoint) =>
        ConnectionMultiplexer.ConnectAsync(new ConfigurationOptions
        {
            EndPoints = { endpoint },
            AbortOnConnectFail = false,
            ConnectTimeout = 1_000,
            KeepAlive = 5,
            ReconnectRetryPolicy = new ExponentialRetry(100, 1_000),
            Protocol = RedisProtocol.Resp2,
            BacklogPolicy = BacklogPolicy.FailFast,
        });

    private sealed record Purchase(string Sku, int Quantity);

    private sealed record Order(string OrderId, string SaleId, string Sku, int Quantity, long Amount, string Currency, string Padding);

    private sealed record Connection(ConnectionMultiplexer Multiplexer) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync() => await Multiplexer.CloseAsync();
    }
}
