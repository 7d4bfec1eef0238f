using System.Net;
using System.Net.Sockets;
using System.Text;
using FlashSale.IntegrationTests.Infrastructure;

namespace FlashSale.IntegrationTests.Blocklist;

/// <summary>Two Api nodes that must agree on the blocked shoppers.</summary>
public sealed class TwoNodes() : StackFixture(new StackOptions { Apis = 2 });

/// <summary>Two Api nodes on a Postgres of their own, which tests may take down.</summary>
public sealed class TwoNodesOnOwnPostgres() : StackFixture(new StackOptions { Apis = 2, OwnPostgres = true });

public abstract class BlocklistTest(StackFixture fixture, ITestOutputHelper output) : StackTest(fixture, output)
{
    protected const string Path = "/api/v1/ops/blocklist";
    protected const string CsvHeader = "kind,value,reason,until\n";

    protected static readonly TimeSpan Promise = TimeSpan.FromSeconds(1);
    protected static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly HttpClient Local = new(new SocketsHttpHandler()) { Timeout = TimeSpan.FromSeconds(10) };

    private Sale? _sale;

    /// <summary>
    /// Every purchase asks for more than this sale allows, so nothing is bought. A blocked shopper gets user_blocked,
    /// all others get purchase_limit_reached.
    /// </summary>
    protected Sale Sale => _sale!;

    public override async ValueTask InitializeAsync() => _sale = await Stack.OpenSaleAsync(stock: 20_000);

    protected Task<Answer> BlockAsync(string kind, string value, string? until = null, string reason = "A test blocks") =>
        Stack.Manager.PostAsync(Path, until is null ? new { kind, value, reason } : new { kind, value, reason, until });

    protected Task<Answer> UnblockAsync(string kind, string value) => Stack.Manager.SendAsync(HttpMethod.Delete, $"{Path}/{kind}/{Uri.EscapeDataString(value)}");

    protected async Task<Answer> ImportAsync(string lines, string type = "text/csv")
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(CsvHeader + lines));
        content.Headers.TryAddWithoutValidation("Content-Type", type);
        return await Stack.Manager.SendAsync(HttpMethod.Post, $"{Path}:import", content);
    }

    /// <summary>Whether a node refuses a purchase because its shopper is blocked.</summary>
    protected async Task<bool> IsBlockedAsync(int node, string user, HttpClient? from = null, string? client = null)
    {
        var answer = await AskAsync(node, user, from, client);
        return answer.Code switch
        {
            "user_blocked" when answer.Status == 403 => true,
            "purchase_limit_reached" => false,
            _ => throw new InvalidOperationException($"A purchase was answered {answer}"),
        };
    }

    /// <summary>Tries a purchase that the sale refuses, since it asks for too many units.</summary>
    protected Task<Answer> AskAsync(int node, string user, HttpClient? from = null, string? client = null) =>
        new Shopper(from ?? Local, () => Stack.Apis[node].Url, user, client is null ? null : TokenOf(user, client))
            .PurchaseAsync(Sale.Id, $$"""{"sku":"{{Sale.Sku}}","quantity":2}""", "asked");

    /// <summary>Waits until every node blocks or serves the user, for the promised second at most.</summary>
    protected async Task EveryNodeAsync(bool blocks, string user, HttpClient? from = null, string? client = null, TimeSpan? within = null)
    {
        var took = await Task.WhenAll(Enumerable.Range(0, Stack.Apis.Count).Select(node => Eventually.TrueAsync(
            $"node {node} {(blocks ? "blocks" : "serves")} {user}", within ?? Promise, async () => await IsBlockedAsync(node, user, from, client) == blocks)));
        Tell($"{(blocks ? "Blocked" : "Served")} everywhere after {took.Max().TotalMilliseconds:0} ms");
    }

    /// <summary>Checks at this moment, without waiting, that every node blocks or serves the users.</summary>
    protected async Task AssertNowAsync(bool blocked, params string[] users)
    {
        foreach (var user in users)
        {
            for (var node = 0; node < Stack.Apis.Count; node++)
                Assert.True(await IsBlockedAsync(node, user) == blocked, $"node {node} {(blocked ? "serves" : "blocks")} {user}");
        }
    }

    /// <summary>A client that connects from another address of this machine.</summary>
    protected static HttpClient From(string address) => new(new SocketsHttpHandler
    {
        ConnectCallback = async (context, cancellation) =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Bind(new IPEndPoint(IPAddress.Parse(address), 0));
            await socket.ConnectAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        },
    });

    protected static string In(TimeSpan time) => (TimeProvider.System.GetUtcNow() + time).UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'");

    private static string TokenOf(string user, string client)
    {
        var claims = Tokens.Claims(user);
        claims["client_id"] = client;
        return Tokens.Mint(Tokens.Header(), claims);
    }
}
