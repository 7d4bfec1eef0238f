using FlashSale.Platform;
using MassTransit;
using RabbitMQ.Client;

namespace FlashSale.Worker;

/// <summary>
/// An AMQP URI, for MassTransit and for the client beneath it:
/// <c>amqp[s]://user:password@host:port,host:port/vhost?parameter=value</c>. List all nodes of a cluster in it and put
/// no balancer before them: a balancer takes a hanging node for a live one.
/// </summary>
public sealed class RabbitMqUrl
{
    private const int PlainPort = 5672;
    private const int TlsPort = 5671;
    private const int DefaultHeartbeatSeconds = 10;
    private const int DefaultConnectMilliseconds = 10_000;

    private static readonly string[] Known = ["cacertfile", "connection_timeout", "heartbeat", "verify"];

    private readonly IReadOnlyList<(string Name, int Port)> _nodes;
    private readonly BrokerCertificates? _certificates;
    private readonly string _user;
    private readonly string _password;
    private readonly string _virtualHost;
    private readonly TimeSpan _heartbeat;
    private readonly TimeSpan _connect;

    private RabbitMqUrl(ServerUrl url)
    {
        var tls = url.Scheme == "amqps";
        _nodes = [.. url.Hosts.Select(host => (host.Name.Trim('[', ']'), host.Port ?? (tls ? TlsPort : PlainPort)))];
        if (_nodes.Count > 1 && _nodes.Any(node => node.Name.Contains(':', StringComparison.Ordinal)))
            throw url.Refusal("the nodes of a cluster must be named: MassTransit takes no IPv6 addresses for them.");
        // On this port MassTransit would talk TLS even where it was told not to, and would trust any certificate.
        if (!tls && _nodes.Any(node => node.Port == TlsPort))
            throw url.Refusal($"port {TlsPort} is that of TLS: amqps://.");
        if (!tls && (url.Text("cacertfile") ?? url.Text("verify")) is not null)
            throw url.Refusal("parameters 'cacertfile' and 'verify' need amqps://.");
        // Certificates are always checked, so verify_peer is the only value that is allowed.
        url.Choice("verify", "verify_peer");
        if (tls) _certificates = BrokerCertificates.For([.. _nodes.Select(node => node.Name)], url);
        (_user, _password) = (url.User ?? "guest", url.Password ?? (url.User is null ? "guest" : ""));
        _virtualHost = url.Path.Length > 0 ? url.Path : "/";
        _heartbeat = TimeSpan.FromSeconds(url.Number("heartbeat", 1, 600) ?? DefaultHeartbeatSeconds);
        _connect = TimeSpan.FromMilliseconds(url.Number("connection_timeout", 100, 60_000) ?? DefaultConnectMilliseconds);
    }

    /// <summary>Parses the value of the setting <c>RabbitMq:Url</c>.</summary>
    /// <exception cref="InvalidSettingException">The value is not an AMQP URI, or has a parameter that cannot be
    /// honoured.</exception>
    public static RabbitMqUrl Read(string url) => new(ServerUrl.Read(
        "RabbitMq:Url", "amqp://user:password@host:port/vhost", url, ["amqp", "amqps"], Known));

    /// <summary>Points a bus at the broker and all its nodes, with publisher confirms.</summary>
    public void Configure(IRabbitMqBusFactoryConfigurator bus, string connectionName) =>
        bus.Host(_nodes[0].Name, (ushort)_nodes[0].Port, _virtualHost, connectionName, host =>
        {
            host.Username(_user);
            host.Password(_password);
            host.PublisherConfirmation = true;
            host.Heartbeat(_heartbeat);
            host.RequestedConnectionTimeout(_connect);
            host.OnRefreshConnectionFactory = factory =>
            {
                PromptSocket.Use(factory, _connect);
                return Task.CompletedTask;
            };
            if (_nodes.Count > 1)
                host.UseCluster(cluster =>
                {
                    // MassTransit tries the nodes in this order. A shuffle at each start spreads the workers over them.
                    var nodes = _nodes.ToArray();
                    Random.Shared.Shuffle(nodes);
                    foreach (var (name, port) in nodes) cluster.Node($"{name}:{port}");
                });
            if (_certificates is not { } certificates) return;
            host.UseSsl(tls =>
            {
                tls.ServerName = _nodes[0].Name;
                tls.Protocol = System.Security.Authentication.SslProtocols.None;
                tls.CertificateValidationCallback = certificates.IsTrusted;
            });
        });

    /// <summary>Connects to a node that answers, without automatic recovery.</summary>
    /// <param name="name">The connection's name in the broker's listings.</param>
    /// <param name="longest">The longest wait for one node, where it is shorter than the URL's
    /// connection_timeout.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public Task<IConnection> ConnectAsync(string name, TimeSpan longest, CancellationToken cancellation)
    {
        var patience = longest < _connect ? longest : _connect;
        var factory = new ConnectionFactory
        {
            UserName = _user,
            Password = _password,
            VirtualHost = _virtualHost,
            ClientProvidedName = name,
            AutomaticRecoveryEnabled = false,
            RequestedHeartbeat = _heartbeat,
            RequestedConnectionTimeout = patience,
            HandshakeContinuationTimeout = patience,
            ContinuationTimeout = longest,
        };
        PromptSocket.Use(factory, patience);
        var endpoints = _nodes.Select(node => new AmqpTcpEndpoint(node.Name, node.Port, Tls(node.Name)));
        return factory.CreateConnectionAsync(endpoints, cancellation);
    }

    private SslOption Tls(string name) =>
        _certificates is { } certificates
            ? new SslOption(name, enabled: true) { CertificateValidationCallback = certificates.IsTrusted }
            : new SslOption();
}
