using FlashSale.Contracts;
using RabbitMQ.Client;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// A virtual host on a broker that only one test uses. The test can change it behind the product's back.
/// </summary>
public sealed class Broker : IAsyncDisposable
{
    /// <summary>
    /// The exchange of the messages between relay and consumer. Its name is the full name of the message.
    /// </summary>
    public const string Exchange = $"{nameof(FlashSale)}.{nameof(Contracts)}:{nameof(ReservationPack)}";

    private readonly Func<string[], Task<string>> _ctl;
    private readonly string _virtualHost;
    private readonly bool _isShared;

    private Broker(Uri url, string virtualHost, bool isShared, Func<string[], Task<string>> ctl)
    {
        Url = url;
        _virtualHost = virtualHost;
        _isShared = isShared;
        _ctl = ctl;
    }

    /// <summary>The amqp URI with user and virtual host.</summary>
    public Uri Url { get; }

    /// <summary>Makes a virtual host on the broker that all tests share.</summary>
    public static async Task<Broker> CreateVirtualHostAsync()
    {
        var name = $"test-{Guid.NewGuid():N}";
        var url = new Uri(TestEnvironment.RabbitMq);
        var broker = new Broker(new UriBuilder(url) { Path = "/" + name }.Uri, name, isShared: true,
            arguments => ChildProcess.RunAsync("rabbitmqctl", [TestEnvironment.RabbitMqCtl, .. arguments]));
        // Do both in one call, because each call starts an Erlang machine of its own.
        var user = Uri.UnescapeDataString(url.UserInfo.Split(':')[0]);
        await broker._ctl(["eval", $"""
            ok = rabbit_vhost:add(<<"{name}">>, <<"{user}">>),
            ok = rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"{user}">>).
            """]);
        return broker;
    }

    /// <summary>The default virtual host of a broker that only this test uses.</summary>
    public static Broker Of(RabbitMqServer server) => new(server.Url, "/", isShared: false, server.CtlAsync);

    /// <summary>
    /// The queues that carry reservations. They are bound to the message's exchange, directly or over other exchanges.
    /// </summary>
    public async Task<IReadOnlyList<string>> QueuesAsync()
    {
        var list = await _ctl(["list_bindings", "-p", _virtualHost, "--quiet", "--no-table-headers", "source_name", "destination_name", "destination_kind"]);
        var bindings = list.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')).Where(b => b.Length == 3).ToArray();
        List<string> exchanges = [Exchange];
        List<string> queues = [];
        for (var i = 0; i < exchanges.Count; i++)
        {
            foreach (var binding in bindings.Where(b => b[0] == exchanges[i])) (binding[2] == "queue" ? queues : exchanges).Add(binding[1]);
        }
        return queues;
    }

    /// <summary>Counts the messages in a queue that no consumer has taken.</summary>
    public async Task<uint> WaitingAsync(string queue)
    {
        await using var connection = await ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        return await channel.MessageCountAsync(queue);
    }

    /// <summary>Counts the messages in this virtual host, by queue.</summary>
    public async Task<IReadOnlyDictionary<string, long>> MessagesAsync()
    {
        var list = await _ctl(["list_queues", "-p", _virtualHost, "--quiet", "--no-table-headers", "name", "messages"]);
        return list.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t'))
            .Where(queue => queue.Length == 2 && long.TryParse(queue[1], out _)).ToDictionary(queue => queue[0], queue => long.Parse(queue[1]), StringComparer.Ordinal);
    }

    /// <summary>Opens a connection for the test itself.</summary>
    public Task<IConnection> ConnectAsync() => new ConnectionFactory { Uri = Url }.CreateConnectionAsync();

    /// <summary>Deletes the messages that wait in the queues.</summary>
    public async Task PurgeAsync()
    {
        var queues = await QueuesAsync();
        await using var connection = await ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        foreach (var queue in queues) await channel.QueuePurgeAsync(queue);
    }

    /// <summary>Deletes the queues with all of their messages.</summary>
    public async Task DeleteQueuesAsync()
    {
        var queues = await QueuesAsync();
        if (queues.Count == 0) throw new InvalidOperationException($"No queue is bound to {Exchange}.");
        await using var connection = await ConnectAsync();
        await using var channel = await connection.CreateChannelAsync();
        foreach (var queue in queues) await channel.QueueDeleteAsync(queue);
    }

    public async ValueTask DisposeAsync()
    {
        if (_isShared) await _ctl(["delete_vhost", _virtualHost]);
    }
}
